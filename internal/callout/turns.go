package callout

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/internal/callout/announce"
	"stamp/internal/callout/forwarded"
)

// This file lets handlers in processes of their own take turns in telling servers of sessions, so that
// each change is told once and not by each handler. Package announce says how they choose. A handler
// that may not talk with the others tells of each change, as do the others as far as it is concerned.

// lookAtFollowed is how often a process looks what its handler follows.
const lookAtFollowed = time.Second

// maxFollows is the largest message on forwarded.Handlers, in bytes.
const maxFollows = 256 << 10

// heardHandler is called when a handler says what it follows.
func (p *Process) heardHandler(m *nats.Msg) {
	var follows forwarded.Follows
	if len(m.Data) > maxFollows || json.Unmarshal(m.Data, &follows) != nil || follows.Server == "" || len(follows.Buckets) > forwarded.MaxFollowed {
		return
	}
	if p.handlers.Heard(follows) {
		p.announcer.RepeatRecent()
	}
}

// systemBack is called when the connection in the system account is made. Servers and other handlers
// may have been out of reach until now.
func (p *Process) systemBack() {
	p.handlers.Changed()
	p.announcer.RepeatAll()
}

// follow says what the handler follows: when that has changed, and regularly. At the end it says that
// it is nothing.
func (p *Process) follow(ctx context.Context) {
	defer close(p.told)
	var said []forwarded.Followed
	var saidAt time.Time
	say := func(buckets []forwarded.Followed) {
		said, saidAt = buckets, time.Now()
		p.say(buckets)
	}
	tick := time.NewTicker(lookAtFollowed)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if len(said) > 0 {
				say(nil)
			}
			return
		case <-tick.C:
		}
		if p.handlers.Check() {
			p.announcer.RepeatRecent()
		}
		if buckets := p.followed(ctx); !slices.Equal(buckets, said) || len(buckets) > 0 && time.Since(saidAt) >= announce.SayEvery {
			say(buckets)
		}
	}
}

// followed returns the buckets of whose changes this process can tell the servers. That is none while
// it does not reach them.
func (p *Process) followed(ctx context.Context) []forwarded.Followed {
	r := p.current()
	if r.system == nil {
		return nil
	}
	reaches, known := r.system.reachesServers()
	if !known {
		reaches = r.system.checkReady(ctx) == nil
	}
	if !reaches {
		return nil
	}
	return r.handler.Follows()
}

// say says to other handlers what this one follows.
func (p *Process) say(buckets []forwarded.Followed) {
	r := p.current()
	if r.system == nil || !r.system.IsConnected() || r.system.alone.Load() {
		return
	}
	body, err := json.Marshal(forwarded.Follows{Server: p.id, Buckets: buckets})
	if err == nil {
		err = r.system.Publish(forwarded.Handlers, body)
	}
	if err != nil {
		p.options.Log.Debug("other handlers do not know what this one follows", "error", err)
	}
}
