package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// binaries are the servers' files, the public tool's and the callout handler's; the
// last two may be missing.
type binaries struct{ stock, ours, cli, callout string }

func (b binaries) of(server string) string {
	if server == ours {
		return b.ours
	}
	return b.stock
}

// key names the values of one arm in one cell; the zero cell where there is none.
type key struct {
	cell cell
	arm  string
}

// series are values of the rounds in order, so that those with one index belong
// to one round.
type series map[key][]float64

func (s series) add(k key, v float64) { s[k] = append(s[k], v) }

// results are all that a run has measured.
type results struct {
	plan      *plan
	took      time.Duration
	cpu, wall series // ns per message
	allocs    series // objects per message
	connect   series // ns of CPU per connection
	callout   series // ns of the handler's CPU per callout
	cliCPU    series // ns per message
	cliRate   series // messages per second, as the tool's subscriber says
}

type runner struct {
	bin      binaries
	plan     *plan
	progress io.Writer
	res      *results
}

func newRunner(bin binaries, p *plan, progress io.Writer) *runner {
	return &runner{bin, p, progress, &results{
		plan: p, cpu: series{}, wall: series{}, allocs: series{}, connect: series{}, callout: series{}, cliCPU: series{}, cliRate: series{},
	}}
}

func (r *runner) run(ctx context.Context) (*results, error) {
	begin := time.Now()
	defer func() { r.res.took = time.Since(begin) }()
	if r.bin.callout != "" && !r.plan.messagesOnly {
		fmt.Fprintln(r.progress, "callouts")
		if err := r.calloutRounds(ctx); err != nil {
			return nil, fmt.Errorf("callouts: %w", err)
		}
	}
	if r.plan.calloutsOnly {
		return r.res, nil
	}
	for i := range r.plan.rounds {
		fmt.Fprintf(r.progress, "messages: round %d of %d, after %d s\n", i+1, r.plan.rounds, int(time.Since(begin).Seconds()))
		if err := r.withServers(ctx, usersConf, r.messageRound); err != nil {
			return nil, err
		}
	}
	if r.plan.messagesOnly {
		return r.res, nil
	}
	fmt.Fprintln(r.progress, "allocations")
	if err := r.withServers(ctx, usersConf, r.allocRound); err != nil {
		return nil, err
	}
	fmt.Fprintln(r.progress, "connections")
	if err := r.connectRounds(ctx); err != nil {
		return nil, err
	}
	if r.bin.cli != "" {
		for i := range r.plan.cliRounds {
			fmt.Fprintf(r.progress, "nats bench: round %d of %d\n", i+1, r.plan.cliRounds)
			if err := r.withServers(ctx, usersConf, r.cliRound); err != nil {
				return nil, err
			}
		}
	}
	return r.res, nil
}

// withServers starts the servers anew, since the memory layout that a process
// happens to get shows in its speed, and stops them after do.
func (r *runner) withServers(ctx context.Context, conf func(stamps bool) string, do func(context.Context, map[string]*process) error) error {
	procs := map[string]*process{}
	defer func() {
		for _, p := range procs {
			p.stop()
		}
	}()
	for _, name := range shuffled([]string{stock, again, ours}) {
		p, err := start(ctx, r.bin.of(name), conf(name == ours))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		procs[name] = p
	}
	return do(ctx, procs)
}

func (r *runner) messageRound(ctx context.Context, procs map[string]*process) error {
	for _, c := range shuffled(r.plan.cells) {
		n := c.count(r.plan.budget)
		for _, a := range shuffled(arms) {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			s, err := measure(procs[a.server], c, a, n)
			if err != nil {
				return err
			}
			r.res.cpu.add(key{c, a.name}, s.cpu)
			r.res.wall.add(key{c, a.name}, s.wall)
		}
	}
	return nil
}

// allocCells are few, since counts do not vary. Above 64 KB every message comes in
// pieces, which the stock server puts into a buffer of its own, too.
func allocCells() []cell { return cells([]int{128, 16384, 1 << 20}, []int{0, 1}) }

func (r *runner) allocRound(_ context.Context, procs map[string]*process) error {
	for _, c := range allocCells() {
		for _, a := range arms {
			v, err := measureAllocs(procs[a.server], c, a, 4*c.count(r.plan.budget))
			if err != nil {
				return err
			}
			r.res.allocs.add(key{c, a.name}, v)
		}
	}
	return nil
}
