package hook

import natsserver "github.com/nats-io/nats-server/v2/server"

// Stop is called when the server begins to end, while its accounts, JetStream and the handler's connections
// are there. The handler takes no callouts from now on, and ends what must not be given up half-way: a
// token request whose refresh token is good once. Its sources bound the time for that.
func (h *Hook) Stop(*natsserver.Server) {
	c := &h.callout
	if !c.mu.TryLock() {
		return // a handler is being started or replaced, and has begun nothing yet
	}
	in := c.inside
	c.inside = nil
	c.mu.Unlock()
	if in == nil || in.handler == nil {
		return
	}
	in.handler.Leave()
	in.handler.Close()
}
