package kv

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// confirmPast opens the gate past if the leader of the bucket has nothing after what the watch has read: the
// last change before the watch began may have been removed, and is then never read. It returns when the gate
// is open, or when ctx ends.
func (s *Source) confirmPast(ctx context.Context, b *bucket) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.past.opened:
			return
		case <-tick.C:
		}
		asking, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
		more, err := s.leader.HasFrom(asking, s.pastSeen.Load()+1, b.prefix+">")
		cancel()
		switch {
		case err == nil && !more:
			s.past.open()
		case err == nil:
			failed = 0
		case ctx.Err() == nil:
			if failed++; failed == warnAfter {
				s.env.Log.Warn("the last changes of the session bucket are not read yet, and its leader does not answer; may the user of the handler publish this?", "source", s.cfg.Name, "subject", s.leader.subject, "error", withoutSubject(err))
			}
		}
	}
}

// checkRegularly calls check until ctx ends. It ends the round with cancel if check
// fails, or if the connection is made anew.
func (s *Source) checkRegularly(ctx context.Context, connected <-chan nats.Status, b *bucket, cancel context.CancelCauseFunc) {
	tick, begun := time.NewTicker(checkEvery), time.Now()
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-connected:
			cancel(errConnected)
			return
		case <-tick.C:
		}
		if time.Since(begun) >= provenAfter {
			s.markProven()
		}
		next, err := s.check(ctx, b)
		if err != nil {
			cancel(err)
			return
		}
		s.noteCaughtUp(b)
		b = next
	}
}

// noteCaughtUp notes whether the watch has seen all changes of the bucket up to an earlier state. A
// change that was removed without a marker is never seen. Then the watch counts as behind until the
// next change, which costs messages only.
func (s *Source) noteCaughtUp(before *bucket) {
	if s.seen.Load() < before.lastRevision {
		s.caughtUp.Store(0)
		return
	}
	s.caughtUp.Store(before.created.UnixNano())
}

// check compares the bucket with its state b, and returns the new state. A consumer is
// not told of messages that are removed without a marker: by a purge of the stream, by
// the deletion of a message, or by a limit. They only make the number of messages
// smaller. An entry that replaces another one does so too and cannot be told apart, so
// check drops all cached answers in both cases.
func (s *Source) check(ctx context.Context, b *bucket) (*bucket, error) {
	asking, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
	defer cancel()
	next, err := s.open(asking)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, s.explain(err)
	case err != nil:
		return b, nil // the watch counts as live until checkHolds is over; the next check may succeed
	case !next.created.Equal(b.created), next.lastRevision < b.lastRevision:
		return nil, errReplaced
	}
	s.bucket.Store(next) // its configuration may have changed
	if next.maxAge != b.maxAge || next.direct != b.direct || next.messages < b.messages+(next.lastRevision-b.lastRevision) {
		s.reportLost()
	}
	s.confirm()
	return next, nil
}
