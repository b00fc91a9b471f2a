package kv

import (
	"context"
	"sync"
	"time"
)

// gate is opened once.
type gate struct {
	once   sync.Once
	opened chan struct{}
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

// open lets all waits end.
func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// isOpen reports whether the gate was opened.
func (g *gate) isOpen() bool {
	select {
	case <-g.opened:
		return true
	default:
		return false
	}
}

// wait waits until the gate is opened, but not longer than the given time.
func (g *gate) wait(ctx context.Context, longest time.Duration) {
	if g.isOpen() {
		return
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-g.opened:
	case <-ctx.Done():
	case <-timer.C:
	}
}
