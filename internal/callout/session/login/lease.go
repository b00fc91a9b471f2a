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
	renewed  time.Time // when it was taken, or prolonged last
	wanted   string    // value of the last write, which may have succeeded without an answer
	created  bool      // the index had no lease of this session
}

// lease takes the lease of a session. It returns nil if another handler holds it. What was read of
// a lease is only certain once the update has succeeded.
func (s *store) lease(ctx context.Context, key string, now time.Time, life time.Duration) (*lease, error) {
	l, until := &lease{name: "lease." + key, renewed: now}, leaseUntil(now, life)
	found, err := s.index.Get(ctx, l.name)
	if errors.Is(err, jetstream.ErrKeyNotFound) { // the session has not been refreshed yet
		if l.revision, err = s.index.Create(ctx, l.name, until); isConflict(err) {
			return nil, nil // another handler was faster
		}
		if err != nil {
			return nil, plain(err)
		}
		l.created = true
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

func leaseUntil(now time.Time, life time.Duration) []byte {
	return strconv.AppendInt(nil, now.Add(life).Unix(), 10)
}

// prolong writes anew until when the handler holds a lease. If the lease was lost with its bucket, it
// is taken again. If another handler has taken it meanwhile, nothing is changed.
func (s *store) prolong(ctx context.Context, l *lease, now time.Time, life time.Duration) error {
	found, err := s.index.Get(ctx, l.name)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return plain(err)
	case l.wanted != "" && string(found.Value()) == l.wanted:
		l.revision = found.Revision()
	}
	until := leaseUntil(now, life)
	l.wanted = string(until)
	revision, err := s.index.Update(ctx, l.name, until, l.revision)
	if isConflict(err) { // Create refuses it if another handler has taken it
		revision, err = s.index.Create(ctx, l.name, until)
	}
	if err != nil {
		return plain(err)
	}
	l.revision, l.renewed = revision, now
	return nil
}

// release gives a lease back, with the revision of the session. If that fails, the lease expires.
// It is left alone if it has expired and another handler has taken it.
func (s *store) release(ctx context.Context, l *lease, revision uint64) {
	_, _ = s.index.Update(ctx, l.name, strconv.AppendUint([]byte("0 "), revision, 10), l.revision)
}
