package login

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lease is the right to refresh a session, of all handlers, for a while. atLeast is the revision of the session that the
// handler before has written: a replica of the bucket may be behind it, and would give a refresh token that was used.
type lease struct {
	name     string
	revision uint64 // of the lease itself
	atLeast  uint64
}

// lease takes the right to refresh a session; nil: another handler has it. What is read of a lease is certain when it
// can be updated.
func (s *store) lease(ctx context.Context, key string, now time.Time, life time.Duration) (*lease, error) {
	l, until := &lease{name: "lease." + key}, strconv.AppendInt(nil, now.Add(life).Unix(), 10)
	var err error
	l.revision, err = s.index.Create(ctx, l.name, until)
	if err == nil {
		return l, nil
	}
	if !isConflict(err) {
		return nil, plain(err)
	}
	found, err := s.index.Get(ctx, l.name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil // it has just been given back
	}
	if err != nil {
		return nil, plain(err)
	}
	ends, revision, _ := strings.Cut(string(found.Value()), " ")
	if ends, err := strconv.ParseInt(ends, 10, 64); err == nil && now.Unix() < ends {
		return nil, nil
	}
	l.atLeast, _ = strconv.ParseUint(revision, 10, 64)
	// Who had it has given it back, or is gone.
	l.revision, err = s.index.Update(ctx, l.name, until, found.Revision())
	if isConflict(err) {
		return nil, nil // another one was faster
	}
	if err != nil {
		return nil, plain(err)
	}
	return l, nil
}

// release gives a lease back, with the revision of the session. It ends by itself where that fails, and is left alone
// where it has ended and another handler has taken it since.
func (s *store) release(ctx context.Context, l *lease, revision uint64) {
	_, _ = s.index.Update(ctx, l.name, strconv.AppendUint([]byte("0 "), revision, 10), l.revision)
}
