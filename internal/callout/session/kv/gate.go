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

// wait waits until the gate is opened, but not later than a time. It reports whether the gate is open.
func (g *gate) wait(ctx context.Context, latest time.Time) bool {
	left := time.Until(latest)
	if g.isOpen() || left <= 0 {
		return g.isOpen()
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-g.opened:
	case <-ctx.Done():
	case <-timer.C:
	}
	return g.isOpen()
}
