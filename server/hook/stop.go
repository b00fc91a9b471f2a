package hook

import (
	"context"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// stopWait is how long the server's end waits for handlers. Each bounds what it waits for by as much.
const stopWait = 8 * time.Second

// Stop is called when the server begins to end, while its accounts, JetStream and the handler's connections
// are there. The handler takes no callouts from now on, and ends what must not be given up half-way: a
// token request whose refresh token is good once. Those that were replaced before, and may still be about that,
// are waited for, and one that is being started is ended when it has.
func (h *Hook) Stop(*natsserver.Server) {
	c := &h.callout
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	var work sync.WaitGroup
	serving := c.serves.Load()
	work.Go(func() { serving.end() })
	work.Go(func() {
		if !c.lock(ctx) {
			return // one is still being started, and has begun nothing yet
		}
		in := c.inside
		c.inside, c.stopped = nil, true
		c.mu.Unlock()
		in.end()
		c.ending.Wait()
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

// lock takes the lock, if it is free before ctx ends.
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

// end takes no callouts from now on, and ends the sources.
func (in *inside) end() {
	if in == nil || in.handler == nil {
		return
	}
	in.finish()
	in.handler.Leave()
	in.close()
}

// close ends the sources, once: a handler may be replaced while the server ends. Whoever else calls it waits, too.
func (in *inside) close() { in.closing.Do(in.handler.Close) }
