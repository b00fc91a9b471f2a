package login

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The leases are lost with the index. A request may be under way then for each session that was stored
// before the index, so nobody takes a lease of those until the lost ones would have ended.

// lostLease returns how long a lease of the session may be held that was lost with the index.
func (s *source) lostLease(ctx context.Context, store *store, key string) time.Duration {
	since := store.indexed.since
	wait := time.Until(since.Add(s.leaseTime()))
	if since.IsZero() || wait <= 0 {
		return 0
	}
	found, err := store.sessions.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0 // the refresh asks whether it is gone
	case err != nil:
		return retryRefresh
	case found.Created().Before(since):
		return wait
	}
	return 0
}

// isLost reports whether a lease was created in another index than the one that was opened, and which
// has not been noticed yet.
func (s *source) isLost(ctx context.Context, store *store, l *lease) (bool, error) {
	if !l.created || store.indexed.made.IsZero() {
		return false, nil
	}
	now, err := s.stateOf(ctx, store.index.Bucket())
	if err != nil {
		return false, err
	}
	return !now.created.Equal(store.indexed.made), nil
}
