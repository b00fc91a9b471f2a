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

// The index may be lost while the sessions are not: somebody deletes its bucket, or restores only
// the other one. The names by which a back-channel logout finds sessions are then written anew from
// the sessions.

// indexMargin is how much the clocks of servers may differ. A session that was stored up to that
// time after the index was created may not be in it.
const indexMargin = time.Minute

// indexed records for which index bucket it is known that it contains all sessions.
type indexed struct {
	once    sync.Once
	done    chan struct{} // closed when created is set
	created time.Time     // when that bucket was created
}

func newIndexed() *indexed { return &indexed{done: make(chan struct{})} }

// set records that the bucket that was created at a time contains all sessions.
func (i *indexed) set(created time.Time) {
	i.once.Do(func() {
		i.created = created
		close(i.done)
	})
}

// of returns when the bucket that contains all sessions was created. ok is not set if there is
// none.
func (i *indexed) of() (created time.Time, ok bool) {
	select {
	case <-i.done:
		return i.created, true
	default:
		return time.Time{}, false
	}
}

var errIndexLost = errors.New("what sessions are found by was lost with its bucket, and is being written anew")

// complete makes sure that the index contains all sessions. streams are the states of the sessions'
// bucket and of the index.
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

// indexBefore writes the index entries of the sessions that were stored before a time.
func (s *store) indexBefore(ctx context.Context, before time.Time) error {
	watcher, err := s.sessions.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return plain(err)
	}
	defer func() { _ = watcher.Stop() }() // an error says that it has already ended
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
			case found == nil: // the end of the list
				return group.Wait()
			case !found.Created().Before(before):
				continue
			}
			e, err := s.cfg.decode(found.Key(), found.Value())
			if err != nil {
				continue // another provider's, or sealed with a key that we do not have
			}
			group.Go(func() error { return s.putIndex(ctx, found.Key(), e) })
		}
	}
}

// indexWait is how long a logout by the provider waits for the index. A provider does not wait
// longer; it sends the token again.
const indexWait = 5 * time.Second

// awaitIndex waits until the index contains all sessions.
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

// checkIndex returns an error if the index is not, or no longer, one that contains all sessions.
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
