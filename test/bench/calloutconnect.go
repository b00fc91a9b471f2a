package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// How a connection is authenticated by the bundled handler. The cost is that of the server and of
// the handler together.
const (
	stockBeside = "stock, nats-callout beside"
	againBeside = "stock again, nats-callout beside"
	oursBeside  = "ours, nats-callout beside"
	oursInside  = "ours, handler inside"
)

var calloutConnectArms = []string{stockBeside, againBeside, oursBeside, oursInside}

// calloutServers are the servers of the arms.
var calloutServers = map[string]string{stockBeside: stock, againBeside: again, oursBeside: ours, oursInside: ours}

var calloutConnectPairs = []pair{
	{"noise: stock / stock", againBeside, stockBeside},
	{"ours / stock, nats-callout beside", oursBeside, stockBeside},
	{"ours, handler inside / stock, nats-callout beside", oursInside, stockBeside},
}

const calloutConnectConf = `
server_name: bench
jetstream { store_dir: js }
accounts { A { jetstream: enabled, users: [{user: a, password: benchmark}] }, APP {} }
`

// calloutConf is the server's side of a handler that runs beside it, or the handler inside.
func calloutConf(keys *calloutKeys, inside bool) string {
	if inside {
		return "callout {\n" + fmt.Sprintf(calloutGrants, ", account: A") + "}\n"
	}
	return fmt.Sprintf("authorization { timeout: 5, auth_callout { issuer: %s, account: A, auth_users: [a], xkey: %s } }\n",
		publicKey(keys.issuer), publicKey(keys.xkey))
}

// calloutPair is a server with a handler beside it, or inside.
type calloutPair struct {
	server   *process
	beside   *exec.Cmd // nil: inside
	sessions int
}

func (c *calloutPair) stop() {
	if c.beside != nil {
		_ = c.beside.Process.Kill() // it may have ended
		_ = c.beside.Wait()
	}
	c.server.stop()
}

// cpu returns the CPU time of both.
func (c *calloutPair) cpu() (time.Duration, error) {
	server, err := c.server.settle()
	if err != nil || c.beside == nil {
		return server, err
	}
	handler, err := cpuTime(c.beside.Process.Pid)
	return server + handler, err
}

func (c *calloutPair) connect(i int) (*client, error) {
	return dial(c.server.addr, connectOptions{Token: sessionID(i % c.sessions)}, nil)
}

func (r *runner) startCalloutPair(ctx context.Context, server string, inside bool, keys *calloutKeys, sessions int) (*calloutPair, error) {
	p, err := start(ctx, r.bin.path(server), "prof_port: -1\n"+calloutConnectConf+calloutConf(keys, inside))
	if err != nil {
		return nil, err
	}
	c := &calloutPair{server: p, sessions: sessions}
	if err = writeSessions(ctx, p.addr, sessions); err == nil && !inside {
		c.beside, err = r.handlerCommand(ctx, keys, "nats://"+p.addr, p.dir)
		if err == nil {
			err = c.beside.Start()
		}
	}
	if err == nil {
		err = c.waitAdmitted()
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return c, nil
}

// waitAdmitted waits until a session is let in.
func (c *calloutPair) waitAdmitted() error {
	var err error
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var conn *client
		if conn, err = c.connect(0); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("nobody is let in: %w", err)
}

// handlerCommand is nats-callout serve, for the server at url.
func (r *runner) handlerCommand(ctx context.Context, keys *calloutKeys, url, dir string) (*exec.Cmd, error) {
	file := filepath.Join(dir, "callout.conf")
	conf := fmt.Sprintf(calloutHandlerConf, url, text(keys.issuer.Seed), text(keys.xkey.Seed)) + fmt.Sprintf(calloutGrants, "")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, r.bin.callout, "serve", "-c", file, "--log-level", "error")
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// calloutConnectRounds has servers of its own every few rounds, as connectRounds.
func (r *runner) calloutConnectRounds(ctx context.Context) error {
	if r.bin.callout == "" {
		return nil
	}
	for done := 0; done < r.plan.connectRounds; done += roundsPerServer {
		if err := r.calloutConnects(ctx, min(roundsPerServer, r.plan.connectRounds-done)); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) calloutConnects(ctx context.Context, rounds int) error {
	keys, err := newCalloutKeys()
	if err != nil {
		return err
	}
	running := map[string]*calloutPair{}
	defer func() {
		for _, c := range running {
			c.stop()
		}
	}()
	for _, arm := range calloutConnectArms {
		c, err := r.startCalloutPair(ctx, calloutServers[arm], arm == oursInside, keys, calloutSessions)
		if err != nil {
			return fmt.Errorf("%s: %w", arm, err)
		}
		running[arm] = c
	}
	return r.res.connect.rounds(rounds, calloutConnectArms, func(arm string) (float64, error) {
		return measureConnects(running[arm].cpu, r.plan.connects, running[arm].connect)
	})
}
