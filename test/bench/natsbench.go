package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cliLoad is one size of `nats bench`, with one publisher and one subscriber.
type cliLoad struct{ size, msgs int }

func (l cliLoad) cell() cell { return cell{l.size, 1} }

// cliArms are those of arms that the public tool measures.
var cliArms = []string{
	"stock", "stock again", "ours",
	"stock, client sends 1", "ours, stamps 1",
	"stock, client sends 4", "ours, stamps 4",
}

func (r *runner) cliRounds(ctx context.Context) error {
	if r.bin.cli == "" {
		return nil
	}
	for range r.plan.cliRounds {
		err := r.withServers(ctx, threeServers(usersConf), func(procs map[string]*process) error { return r.cliRound(ctx, procs) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) cliRound(ctx context.Context, procs map[string]*process) error {
	for _, l := range shuffled(r.plan.cliLoads) {
		for _, a := range shuffled(arms) {
			if !slices.Contains(cliArms, a.name) {
				continue
			}
			cpu, rate, err := measureCLI(ctx, r.bin.cli, procs[a.server], a, l)
			if err != nil {
				return fmt.Errorf("nats bench, %s, %d bytes: %w", a.name, l.size, err)
			}
			r.res.cliCPU.add(key{cell: l.cell(), arm: a.name}, cpu)
			r.res.cliRate.add(key{cell: l.cell(), arm: a.name}, rate)
		}
	}
	return nil
}

// measureCLI returns the server's CPU ns for a message, and the subscriber's
// messages per second.
func measureCLI(ctx context.Context, cli string, p *process, a arm, l cliLoad) (cpu, rate float64, err error) {
	// A subscriber that misses a message would wait for ever.
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var out bytes.Buffer
	before, err := p.subscriptions()
	if err != nil {
		return 0, 0, err
	}
	sub := cliCommand(ctx, cli, p, plainUser, "sub", l)
	sub.Stdout, sub.Stderr = &out, &out
	if err := sub.Start(); err != nil {
		return 0, 0, err
	}
	begin, err := p.interest(ctx, before)
	if err == nil {
		err = publishCLI(ctx, cli, p, a, l)
	}
	if err != nil {
		cancel()
	}
	if err := errors.Join(err, sub.Wait()); err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, out.String())
	}
	end, err := p.settle()
	if err != nil {
		return 0, 0, err
	}
	rate, err = cliStats(out.String())
	return float64(end-begin) / float64(l.msgs), rate, err
}

func publishCLI(ctx context.Context, cli string, p *process, a arm, l cliLoad) error {
	pub := cliCommand(ctx, cli, p, a.user, "pub", l)
	for _, h := range a.sent {
		pub.Args = append(pub.Args, "-H", h.name+":"+h.value)
	}
	if out, err := pub.CombinedOutput(); err != nil {
		return fmt.Errorf("publish: %w: %s", err, out)
	}
	return nil
}

func cliCommand(ctx context.Context, cli string, p *process, user, mode string, l cliLoad) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cli, "--no-context", "-s", "nats://"+p.addr, "--user", user, "--password", password,
		"bench", mode, subject, "--msgs", strconv.Itoa(l.msgs), "--size", strconv.Itoa(l.size), "--no-progress")
	cmd.Env = append(os.Environ(), "HOME="+p.dir) // none of the user's settings
	return cmd
}

// cliStats reads "subscriber stats: 661,011 msgs/sec".
func cliStats(out string) (float64, error) {
	m := regexp.MustCompile(`subscriber stats: ([\d,]+) msgs/sec`).FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("nats bench says no rate: %s", out)
	}
	return strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
}

// interest waits for one subscription more, and returns the CPU time then.
func (p *process) interest(ctx context.Context, before int) (time.Duration, error) {
	for ctx.Err() == nil {
		n, err := p.subscriptions()
		if err != nil {
			return 0, err
		}
		if n > before {
			return p.settle()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0, errors.New("nats bench did not subscribe")
}

func (p *process) subscriptions() (int, error) {
	var varz struct{ Subscriptions int }
	err := p.monitored("/varz", &varz)
	return varz.Subscriptions, err
}
