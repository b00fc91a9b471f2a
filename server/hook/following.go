package hook

import (
	"context"
	"slices"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/announce"
	"stamp/internal/callout/forwarded"
)

// This file tells other servers of sessions, and which buckets the handler inside follows, so that
// others need not tell this server. Package announce says why.

// telling is what a hook has for that.
type telling struct {
	once      sync.Once
	announcer *announce.Announcer
	followers *announce.Followers

	mu   sync.Mutex
	stop context.CancelFunc // of follow; nil: it does not run
	done chan struct{}      // closed when follow has ended
}

// start creates the announcer, once.
func (t *telling) start(s *natsserver.Server) *telling {
	t.once.Do(func() {
		t.followers = announce.NewFollowers(s.ID(), s.TrackedRemoteServers)
		t.announcer = announce.NewAmong(t.followers, func(q forwarded.Renew) error {
			s.RenewAll(&q)
			return nil
		})
	})
	return t
}

// peerConnected is called when another server connects. It may have been cut off, so requests are
// repeated for it.
func (h *Hook) peerConnected(s *natsserver.Server) {
	t := h.telling.start(s)
	t.followers.Changed()
	t.announcer.RepeatAll()
}

// heardFollower is called when another server says what it follows.
func (h *Hook) heardFollower(s *natsserver.Server, q forwarded.Renew) (any, error) {
	if countSelectors(q) > 0 || len(q.Again) > 0 || len(q.Follows.Buckets) > forwarded.MaxFollowed {
		return nil, errRenew
	}
	if t := h.telling.start(s); t.followers.Heard(*q.Follows) {
		t.announcer.RepeatRecent()
	}
	return nil, nil
}

// startFollowing begins to say what the handler inside s follows. It does nothing if that has begun.
func (h *Hook) startFollowing(s *natsserver.Server) {
	t := h.telling.start(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil || !hasPeers(s.RunningOptions()) {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop, t.done = stop, make(chan struct{})
	go func() {
		defer close(t.done)
		h.follow(ctx, s)
	}()
}

// stopFollowing says that s follows nothing from now on.
func (h *Hook) stopFollowing() {
	t := &h.telling
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil {
		t.stop()
		<-t.done
		t.stop = nil
	}
}

// checkFollowed is how often the server looks what its handler follows.
const checkFollowed = time.Second

// follow says what the handler inside s follows: when that has changed, and regularly. At the end it
// says that it is nothing.
func (h *Hook) follow(ctx context.Context, s *natsserver.Server) {
	var said []forwarded.Followed
	var saidAt time.Time
	say := func(buckets []forwarded.Followed) {
		said, saidAt = buckets, time.Now()
		s.RenewAll(&forwarded.Renew{Follows: &forwarded.Follows{Server: s.ID(), Buckets: buckets}})
	}
	tick := time.NewTicker(checkFollowed)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			say(nil)
			return
		case <-tick.C:
		}
		if h.telling.followers.Check() {
			h.telling.announcer.RepeatRecent()
		}
		var buckets []forwarded.Followed
		if in := h.callout.current.Load(); in != nil {
			buckets = in.handler.Follows()
		}
		if !slices.Equal(buckets, said) || len(buckets) > 0 && time.Since(saidAt) >= announce.SayEvery {
			say(buckets)
		}
	}
}
