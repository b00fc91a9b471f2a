package login

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lease is the right of one handler to refresh a session, for a limited time. atLeast is the
// revision that the last holder has written. A replica of the bucket may be behind it and would
// return a refresh token that has been used.
type lease struct {
	name     string
	revision uint64 // of the lease itself
	atLeast  uint64
}

// lease takes the lease of a session. It returns nil if another handler holds it. What was read of
// a lease is only certain once the update has succeeded.
func (s *store) lease(ctx context.Context, key string, now time.Time, life time.Duration) (*lease, error) {
	l, until := &lease{name: "lease." + key}, strconv.AppendInt(nil, now.Add(life).Unix(), 10)
	found, err := s.index.Get(ctx, l.name)
	if errors.Is(err, jetstream.ErrKeyNotFound) { // the session has not been refreshed yet
		if l.revision, err = s.index.Create(ctx, l.name, until); isConflict(err) {
			return nil, nil // another handler was faster
		}
		if err != nil {
			return nil, plain(err)
		}
		return l, nil
	}
	if err != nil {
		return nil, plain(err)
	}
	ends, revision, _ := strings.Cut(string(found.Value()), " ")
	if ends, err := strconv.ParseInt(ends, 10, 64); err == nil && now.Unix() < ends {
		return nil, nil
	}
	l.atLeast, _ = strconv.ParseUint(revision, 10, 64)
	// Its holder has given it back, or has stopped.
	l.revision, err = s.index.Update(ctx, l.name, until, found.Revision())
	if isConflict(err) {
		return nil, nil // another handler was faster
	}
	if err != nil {
		return nil, plain(err)
	}
	return l, nil
}

// release gives a lease back, with the revision of the session. If that fails, the lease expires.
// It is left alone if it has expired and another handler has taken it.
func (s *store) release(ctx context.Context, l *lease, revision uint64) {
	_, _ = s.index.Update(ctx, l.name, strconv.AppendUint([]byte("0 "), revision, 10), l.revision)
}
