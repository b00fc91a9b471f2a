package login

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// The bucket for the index may be lost, and the sessions not: somebody deletes it, or restores the other one alone. What
// sessions are found by for back-channel logout is then written anew from the sessions.

// indexMargin is by how much the clocks of servers may differ: a session that was stored so soon after the index was made
// may have been indexed before.
const indexMargin = time.Minute

// indexed tells of which bucket it is known that all sessions can be found by it.
type indexed struct {
	once    sync.Once
	done    chan struct{} // closed when that is so
	created time.Time     // that bucket's
}

func newIndexed() *indexed { return &indexed{done: make(chan struct{})} }

// set notes that the bucket that was made then has all.
func (i *indexed) set(created time.Time) {
	i.once.Do(func() {
		i.created = created
		close(i.done)
	})
}

// of tells when the bucket was made that has all; not ok: none is known.
func (i *indexed) of() (created time.Time, ok bool) {
	select {
	case <-i.done:
		return i.created, true
	default:
		return time.Time{}, false
	}
}

var errIndexLost = errors.New("what sessions are found by was lost with its bucket, and is being written anew")

// complete has all sessions in the index, which is in the second of these buckets.
func (s *source) complete(ctx context.Context, store *store, streams [2]streamState) error {
	sessions, index := streams[0], streams[1]
	before := index.created.Add(indexMargin)
	if !sessions.oldest.IsZero() && sessions.oldest.Before(before) {
		if err := store.indexBefore(ctx, before); err != nil {
			return err
		}
	}
	store.indexed.set(index.created)
	return nil
}

// indexBefore writes the index of the sessions that were stored before a time.
func (s *store) indexBefore(ctx context.Context, before time.Time) error {
	watcher, err := s.sessions.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return plain(err)
	}
	defer func() { _ = watcher.Stop() }() // it may have ended
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(endsAtOnce)
	for {
		select {
		case <-ctx.Done():
			return cmp.Or(group.Wait(), ctx.Err())
		case found, ok := <-watcher.Updates():
			switch {
			case !ok:
				return cmp.Or(group.Wait(), errIndexLost)
			case found == nil: // all that there were
				return group.Wait()
			case !found.Created().Before(before):
				continue
			}
			e, err := s.cfg.decode(found.Key(), found.Value())
			if err != nil {
				continue // another's, or nobody can read it
			}
			group.Go(func() error { return s.putIndex(ctx, found.Key(), e) })
		}
	}
}

// indexWait is how long a logout token waits until sessions can be found. A provider waits no longer, and sends it again.
const indexWait = 5 * time.Second

// awaitIndex returns when sessions can be found by the index.
func (s *store) awaitIndex(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, indexWait)
	defer cancel()
	select {
	case <-s.indexed.done:
		return nil
	case <-ctx.Done():
		return errIndexLost
	}
}

// checkIndex tells whether the index is still the one that has all sessions.
func (s *source) checkIndex(ctx context.Context, store *store) error {
	now, err := s.stateOf(ctx, store.index.Bucket())
	if err != nil {
		return plain(err)
	}
	if created, ok := store.indexed.of(); !ok || !created.Equal(now.created) {
		return errIndexLost
	}
	return nil
}
