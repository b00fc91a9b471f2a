package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// dialers is how many connections of a crowd are being opened at once.
const dialers = 256

// burstStudy names the wall-clock times of bursts.
const burstStudy = "burst"

// crowdRounds starts a server for each arm, opens many connections to it, and leaves them alone.
func (r *runner) crowdRounds(ctx context.Context) error {
	id, err := newIdentity()
	if err != nil {
		return fmt.Errorf("make an operator: %w", err)
	}
	keys, err := newCalloutKeys()
	if err != nil {
		return fmt.Errorf("make the keys of a handler: %w", err)
	}
	for range r.plan.crowdRounds {
		for _, a := range shuffled(connectArms) {
			if err := r.crowd(ctx, id, a); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
		if r.bin.callout == "" {
			continue
		}
		for _, arm := range shuffled(calloutConnectArms) {
			if err := r.calloutCrowd(ctx, keys, arm); err != nil {
				return fmt.Errorf("%s: %w", arm, err)
			}
		}
	}
	return nil
}

// calloutCrowd measures the memory of connections that an auth callout lets in, each of a session of its own.
func (r *runner) calloutCrowd(ctx context.Context, keys *calloutKeys, arm string) error {
	const first = 100 // they are dearer
	pair, err := r.startCalloutPair(ctx, calloutServers[arm], arm == oursInside, keys, first+r.plan.calloutCrowd)
	if err != nil {
		return err
	}
	defer pair.stop()
	c := &crowd{connect: pair.connect}
	defer c.close()
	if err := c.open(ctx, first); err != nil {
		return err
	}
	empty, err := pair.server.memory()
	if err != nil {
		return err
	}
	if err := c.open(ctx, r.plan.calloutCrowd); err != nil {
		return err
	}
	full, err := pair.server.memory()
	if err != nil {
		return err
	}
	r.res.memory.add(key{arm: arm}, (full-empty)/float64(r.plan.calloutCrowd))
	return nil
}

func (r *runner) crowd(ctx context.Context, id *identity, a connectArm) error {
	p, err := start(ctx, r.bin.path(a.server), "prof_port: -1\n"+id.conf)
	if err != nil {
		return err
	}
	defer p.stop()
	c := &crowd{connect: func(int) (*client, error) { return id.connect(p.addr, id.token(a)) }}
	defer c.close()
	if err := c.open(ctx, 100); err != nil { // the first ones are dearer
		return err
	}
	empty, err := p.memory()
	if err != nil {
		return err
	}
	before, err := p.settle()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := c.open(ctx, r.plan.burst); err != nil {
		return err
	}
	wall := time.Since(begin)
	after, err := p.settle()
	if err != nil {
		return err
	}
	if err := c.open(ctx, r.plan.crowd-r.plan.burst); err != nil {
		return err
	}
	full, err := p.memory()
	if err != nil {
		return err
	}
	n, k := float64(r.plan.burst), key{arm: a.name}
	r.res.burst.add(k, float64(after-before)/n)
	r.res.wall.add(key{study: burstStudy, arm: a.name}, float64(wall)/n)
	r.res.memory.add(k, (full-empty)/float64(r.plan.crowd))
	return nil
}

// crowd are connections that do nothing.
type crowd struct {
	connect func(i int) (*client, error)
	opened  int

	mu    sync.Mutex
	conns []*client
}

// open opens n connections more.
func (c *crowd) open(ctx context.Context, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dialers)
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			conn, err := c.connect(c.opened + i)
			if err != nil {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.conns = append(c.conns, conn)
			return nil
		})
	}
	err := g.Wait()
	c.opened += n
	return err
}

func (c *crowd) close() {
	for _, conn := range c.conns {
		_ = conn.Close() // the server is going to be killed
	}
}

// memory is what the server holds: bytes of reachable objects, after a collection, and of stacks.
func (p *process) memory() (float64, error) {
	var m memstats
	// The next collections remove what finalizers and pools have released.
	for range 3 {
		resp, err := http.Get(p.profile + "/debug/pprof/heap?gc=1")
		if err != nil {
			return 0, fmt.Errorf("collect garbage: %w", err)
		}
		resp.Body.Close()
		if m, err = p.memstats(); err != nil {
			return 0, err
		}
	}
	return float64(m.HeapAlloc + m.StackInuse), nil
}
