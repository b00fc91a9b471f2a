package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// server is one of the processes that run beside each other.
type server struct{ name, conf string }

// binaries are the servers' files, the public tool's and the callout handler's; the
// last two may be missing.
type binaries struct{ stock, ours, cli, callout string }

func (b binaries) path(server string) string {
	if server == stock || server == again {
		return b.stock
	}
	return b.ours
}

// key names the values of one arm in one cell of one study; what has no cells has the zero one,
// and the main study no name.
type key struct {
	study string
	cell  cell
	arm   string
}

// series are values of the rounds in order, so that those with one index belong
// to one round.
type series map[key][]float64

func (s series) add(k key, v float64) { s[k] = append(s[k], v) }

// rounds adds the costs of the arms, n times. A round before them warms up, and fills caches.
func (s series) rounds(n int, arms []string, cost func(arm string) (float64, error)) error {
	for i := range n + 1 {
		for _, arm := range shuffled(arms) {
			v, err := cost(arm)
			if err != nil {
				return fmt.Errorf("%s: %w", arm, err)
			}
			if i > 0 {
				s.add(key{arm: arm}, v)
			}
		}
	}
	return nil
}

// results are all that a run has measured.
type results struct {
	plan      *plan
	took      time.Duration
	cpu, wall series         // ns per message
	allocs    series         // objects per message
	connect   series         // ns of CPU per connection
	callout   series         // ns of the handler's CPU per callout
	burst     series         // ns of CPU per connection
	memory    series         // bytes per connection
	growth    series         // ns per message
	added     map[string]int // bytes per message, by arm of the alternatives
	reload    map[string][]reloadSample
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
		plan: p, cpu: series{}, wall: series{}, allocs: series{}, connect: series{}, callout: series{},
		burst: series{}, memory: series{}, growth: series{}, added: map[string]int{}, reload: map[string][]reloadSample{}, cliCPU: series{}, cliRate: series{},
	}}
}

// part is one of a run's.
type part struct {
	name string
	do   func(*runner, context.Context) error
}

// allParts are in the order of a run. Those that need quiet the most come first.
func allParts() []part {
	return []part{
		{"growth", (*runner).growthRounds},
		{"callouts", (*runner).calloutRounds},
		{"connections", (*runner).connectRounds},
		{"reload", (*runner).reloadRounds},
		{"crowd", (*runner).crowdRounds},
		{"alternatives", (*runner).alternativeRounds},
		{"studies", (*runner).studyRounds},
		{"messages", (*runner).messageRounds},
		{"nats-bench", (*runner).cliRounds},
	}
}

func parts() []string {
	var names []string
	for _, p := range allParts() {
		names = append(names, p.name)
	}
	return names
}

func (r *runner) run(ctx context.Context) (*results, error) {
	begin := time.Now()
	defer func() { r.res.took = time.Since(begin) }()
	for _, part := range allParts() {
		if !r.plan.has(part.name) {
			continue
		}
		fmt.Fprintf(r.progress, "%s, after %d s\n", part.name, int(time.Since(begin).Seconds()))
		if err := part.do(r, ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return r.res, nil
}

// withServers starts the servers anew, since the memory layout that a process
// happens to get shows in its speed, and stops them after do.
func (r *runner) withServers(ctx context.Context, servers []server, do func(map[string]*process) error) error {
	procs := map[string]*process{}
	defer func() {
		for _, p := range procs {
			p.stop()
		}
	}()
	for _, s := range shuffled(servers) {
		p, err := start(ctx, r.bin.path(s.name), s.conf)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		procs[s.name] = p
	}
	return do(procs)
}

// threeServers are stock, twice, and ours.
func threeServers(conf func(stamps bool) string) []server {
	return []server{{stock, conf(false)}, {again, conf(false)}, {ours, conf(true)}}
}

func (r *runner) messageRounds(ctx context.Context) error {
	main := study{servers: threeServers(usersConf), arms: arms, cells: r.plan.cells, way: plainWay}
	if err := r.rounds(ctx, main, r.plan.rounds); err != nil {
		return err
	}
	return r.withServers(ctx, main.servers, r.allocRound)
}

func (r *runner) studyRounds(ctx context.Context) error {
	for _, s := range r.plan.studies {
		fmt.Fprintln(r.progress, s.name)
		if err := r.rounds(ctx, s, r.plan.studyRounds); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// rounds measures a study.
func (r *runner) rounds(ctx context.Context, s study, n int) error {
	for range n {
		if err := r.withServers(ctx, s.servers, func(procs map[string]*process) error { return r.round(ctx, s, procs) }); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) round(ctx context.Context, s study, procs map[string]*process) error {
	for _, c := range shuffled(s.cells) {
		n := c.count(r.plan.budget / time.Duration(s.way.cost))
		for _, a := range shuffled(s.arms) {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			v, err := measure(procs[a.server], s.way, c, a, n)
			if err != nil {
				return err
			}
			r.res.cpu.add(key{s.name, c, a.name}, v.cpu)
			r.res.wall.add(key{s.name, c, a.name}, v.wall)
		}
	}
	return nil
}

// allocCells are few, since counts do not vary. Above 64 KB every message comes in
// pieces, which the stock server puts into a buffer of its own, too.
func allocCells() []cell { return cells([]int{128, 16384, 1 << 20}, []int{0, 1}) }

func (r *runner) allocRound(procs map[string]*process) error {
	for _, c := range allocCells() {
		for _, a := range arms {
			v, err := measureAllocs(procs[a.server], plainWay, c, a, 4*c.count(r.plan.budget))
			if err != nil {
				return err
			}
			r.res.allocs.add(key{cell: c, arm: a.name}, v)
		}
	}
	return nil
}
