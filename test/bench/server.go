package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// timeout is for anything that should happen soon.
const timeout = 60 * time.Second

// common stands before every configuration. A subscriber's pending bytes are
// unlimited for what one measurement sends, and no ping comes in between.
const common = `
listen: "127.0.0.1:-1"
http: "127.0.0.1:-1"
max_payload: 8MB
max_pending: 1GB
write_deadline: "60s"
ping_interval: "10m"
`

// usersConf has the users of plan.go; only a server that stamps knows `headers`.
func usersConf(stamps bool) string {
	user := func(name string, headers []header) string {
		field := ""
		if stamps && headers != nil {
			field = confHeaders(headers)
		}
		return fmt.Sprintf("  { user: %s, password: %s, %s }\n", name, password, field)
	}
	reader := fmt.Sprintf("  { user: %s, password: %s }\n", readerUser, password)
	if stamps {
		reader = fmt.Sprintf("  { user: %s, password: %s, header_permissions: { subscribe: { allow: [\"*\"] } } }\n", readerUser, password)
	}
	return "authorization { users: [\n" + user(plainUser, nil) + user(oneUser, one) + user(fourUser, four) + reader + "] }\n"
}

const password = "benchmark"

// process is a running nats-server.
type process struct {
	cmd                *exec.Cmd
	dir                string
	exited             chan struct{}
	addr, monitor, log string
	websocket, profile string // empty without
}

// start runs the binary with a configuration and waits for its ports.
func start(ctx context.Context, binary, conf string) (*process, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, exited: make(chan struct{}), log: filepath.Join(dir, "log")}
	if err := p.configure(conf); err != nil {
		return nil, err
	}
	if err := p.writeProofKeys(); err != nil {
		return nil, err
	}
	p.cmd = exec.CommandContext(ctx, binary, "-c", p.conf())
	p.cmd.Dir = dir
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(binary), err)
	}
	go func() {
		_ = p.cmd.Wait() // what it says is on stderr
		close(p.exited)
	}()
	if err := p.ports(); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *process) conf() string { return filepath.Join(p.dir, "server.conf") }

// configure writes the configuration, which a running server takes when it is told to reload.
func (p *process) configure(conf string) error {
	return os.WriteFile(p.conf(), []byte(common+fmt.Sprintf("ports_file_dir: %q\nlog_file: %q\n", p.dir, p.log)+conf), 0o600)
}

// writeProofKeys writes the key file of proofs, which few configurations name.
func (p *process) writeProofKeys() error {
	keys := theProofKeys()
	if keys.err != nil {
		return keys.err
	}
	return os.WriteFile(filepath.Join(p.dir, proofFile), []byte(keys.seeds), 0o600)
}

// ports waits for the file that the server writes when it listens.
func (p *process) ports() error {
	var ports struct{ Nats, Monitoring, Profile, WebSocket []string }
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.exited:
			text, _ := os.ReadFile(p.log) // it may have ended before it had one
			return fmt.Errorf("the server ended: %s", text)
		default:
		}
		files, _ := filepath.Glob(filepath.Join(p.dir, "*.ports"))
		if len(files) != 1 {
			continue
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		if json.Unmarshal(data, &ports) != nil || len(ports.Nats) == 0 || len(ports.Monitoring) == 0 {
			continue // not written to its end yet
		}
		u, err := url.Parse(ports.Nats[0])
		p.addr, p.monitor, p.profile = u.Host, ports.Monitoring[0], strings.Join(ports.Profile, "")
		p.websocket = strings.Join(ports.WebSocket, "")
		return err
	}
	return errors.New("the server did not listen in time")
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
	_ = os.RemoveAll(p.dir) // a temporary folder
}

func (p *process) cpu() (time.Duration, error) { return cpuTime(p.cmd.Process.Pid) }

// settle waits until the server has done what it does after the last message, and
// returns its CPU time then.
func (p *process) settle() (time.Duration, error) {
	const pause, idle = time.Millisecond, 20 * time.Microsecond
	before, err := p.cpu()
	for range 200 {
		if err != nil {
			break
		}
		time.Sleep(pause)
		var now time.Duration
		now, err = p.cpu()
		if now-before < idle {
			return now, err
		}
		before = now
	}
	return before, err
}

// mallocs is how many objects the server has allocated since its start. The
// runtime's counter is exact, since reading it stops the world.
func (p *process) mallocs() (uint64, error) {
	m, err := p.memstats()
	return m.Mallocs, err
}

// memstats are some of runtime.MemStats.
type memstats struct{ Mallocs, HeapAlloc, StackInuse uint64 }

func (p *process) memstats() (memstats, error) {
	var vars struct{ Memstats memstats }
	err := p.monitored("/debug/vars", &vars)
	return vars.Memstats, err
}

// monitored decodes a page of the monitoring port.
func (p *process) monitored(page string, into any) error {
	resp, err := http.Get(p.monitor + page)
	if err != nil {
		return fmt.Errorf("ask %s: %w", page, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask %s: %w", page, err)
	}
	return nil
}
