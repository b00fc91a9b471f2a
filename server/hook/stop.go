package hook

import (
	"context"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// shutdownTimeout is how long the server's shutdown waits for handlers. Each session source also
// limits to this time what it waits for.
const shutdownTimeout = 8 * time.Second

// Stop implements natsserver.Extension. The server calls it when its shutdown begins, while its
// accounts, JetStream and the handler's connections still work. The handler accepts no more callouts
// and completes what must not be interrupted, such as a token request whose refresh token can be
// used only once. The same holds for handlers that were replaced earlier and are not done yet, and for
// a handler that is being started.
func (h *Hook) Stop(*natsserver.Server) {
	c := &h.callout
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	var work sync.WaitGroup
	h.stopFollowing()
	current := c.current.Load()
	work.Go(func() { current.shutDown() })
	c.shutDownReplaced(&work)
	work.Go(h.metricsEndpoint.stop)
	work.Go(func() {
		if !c.lock(ctx) {
			return // a handler is still being started, so it has no requests in progress
		}
		in := c.inside
		c.inside, c.stopped = nil, true
		running := c.ops.detach()
		c.mu.Unlock()
		closeEndpoint(running, endpointTimeout)
		c.shutDownReplaced(&work)
		in.shutDown()
		c.replaced.Wait()
	})
	done := make(chan struct{})
	go func() {
		work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// shutDownReplaced shuts down the handlers that were replaced. They may still wait for look-ups, and would
// begin token requests meanwhile.
func (c *calloutHook) shutDownReplaced(work *sync.WaitGroup) {
	for in := range c.leaving.Range {
		work.Go(in.(*insideHandler).shutDown)
	}
}

// lock takes the lock, or returns false when ctx ends.
func (c *calloutHook) lock(ctx context.Context) bool {
	const pause = 5 * time.Millisecond
	for !c.mu.TryLock() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
	return true
}

// shutDown makes the handler accept no more callouts, and closes its sources.
func (in *insideHandler) shutDown() {
	if in == nil || in.handler == nil {
		return
	}
	in.endRun()
	in.handler.StopReceiving()
	in.closeSources()
}
