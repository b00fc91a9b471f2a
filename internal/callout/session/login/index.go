package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"stamp/internal/callout/session/internal/sealed"
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
	// sessions is the state of the sessions' bucket when it was last seen to be the one of which the index has
	// all sessions; nil: not yet.
	sessions atomic.Pointer[streamState]

	made  time.Time // when the bucket was created that was opened
	since time.Time // all leases that were taken from then on are in it; later than made if it was restored from a backup
}

func newIndexed() *indexed { return &indexed{done: make(chan struct{})} }

// set records that the bucket that was created at a time contains all sessions of a bucket.
func (i *indexed) set(created time.Time, sessions streamState) {
	i.once.Do(func() {
		i.created = created
		i.sessions.CompareAndSwap(nil, &sessions)
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
	replaced := s.replaced.Load()
	isOther := replaced != s.indexedAfter.Load()
	if isOther {
		before = time.Now().Add(indexMargin)
		// Another handler, or this one after a restart, must not take the index for complete meanwhile.
		if err := store.index.Purge(ctx, s.cfg.completeName()); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return plain(err)
		}
	}
	if !sessions.oldest.IsZero() && sessions.oldest.Before(before) {
		done, err := store.isComplete(ctx, streams)
		if err != nil {
			return err
		}
		if !done || isOther {
			if err := s.indexBefore(ctx, store, before, sessions.last); err != nil {
				return err
			}
			if err := store.markComplete(ctx, streams); err != nil {
				return err
			}
		}
	}
	s.indexedAfter.Store(replaced)
	store.indexed.set(index.created, sessions)
	return nil
}

// completeName is the key in the index that says that it contains all sessions that a handler with this
// configuration can read, so that no other such handler reads these. It includes the party and the keys:
// a handler of another client, or with other keys, has found other sessions. The value says of which index
// and of which sessions, because it may come too late, and either bucket may be made anew or restored.
func (c *Config) completeName() string { return "complete." + c.party() + "." + c.keys.ID() }

// isComplete reports whether the index has what it should of the sessions in their bucket. streams are the
// states of the sessions' bucket and of the index.
func (s *store) isComplete(ctx context.Context, streams [2]streamState) (bool, error) {
	found, err := s.index.Get(ctx, s.cfg.completeName())
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, plain(err)
	}
	var sessions, index int64
	var last uint64
	if _, err := fmt.Sscanf(string(found.Value()), completeFormat, &index, &sessions, &last); err != nil {
		return false, nil // an earlier version wrote it
	}
	return index == streams[1].created.UnixNano() && sessions == streams[0].created.UnixNano() && last <= streams[0].last, nil
}

func (s *store) markComplete(ctx context.Context, streams [2]streamState) error {
	value := fmt.Sprintf(completeFormat, streams[1].created.UnixNano(), streams[0].created.UnixNano(), streams[0].last)
	_, err := s.index.PutString(ctx, s.cfg.completeName(), value)
	return plain(err)
}

// completeFormat is the format of a mark: when the index and the bucket of the sessions were created, in Unix
// nanoseconds, and the last sequence of the latter. A bucket that is restored keeps the time of its creation,
// and has an earlier sequence.
const completeFormat = "%d %d %d"

// indexBefore writes the index entries of the sessions that were stored before a time. These are the
// first ones in the bucket, whose leader had a last sequence.
func (s *source) indexBefore(ctx context.Context, store *store, before time.Time, last uint64) error {
	entries, err := s.consume(ctx, 1, withContent)
	if err != nil {
		return plain(err)
	}
	defer entries.stop()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(endsAtOnce)
	read, pending := uint64(0), entries.pending
	for number := uint64(1); ; number++ {
		if done, err := s.hasRead(ctx, entries, read, pending, last); done || err != nil {
			return cmp.Or(group.Wait(), err)
		}
		m, err := entries.next(ctx)
		if err != nil {
			return cmp.Or(group.Wait(), ctx.Err(), errIndexLost)
		}
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Consumer != number {
			return cmp.Or(group.Wait(), errIndexLost)
		}
		if !meta.Timestamp.Before(before) {
			return group.Wait()
		}
		read, pending = meta.Sequence.Stream, meta.NumPending
		key := strings.TrimPrefix(m.Subject(), entries.prefix)
		e, err := s.cfg.decode(key, m.Data())
		if err != nil { // a marker of a deletion, another provider's, or sealed with a key that we do not have
			s.reportUnindexed(m.Headers(), err)
			continue
		}
		group.Go(func() error { return store.putIndex(ctx, key, e) })
	}
}

// hasRead reports whether a consumer of the sessions' bucket that is at a sequence has read all that the
// leader had, whose last sequence was last. That the consumer has nothing pending does not say so: its
// replica may lag behind. Nor is the last message always reached: it may have been removed.
func (s *source) hasRead(ctx context.Context, entries *changes, read, pending, last uint64) (bool, error) {
	if read >= last || pending > 0 {
		return read >= last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
	defer cancel()
	more, err := s.leader.HasFrom(ctx, read+1, entries.prefix+">")
	return !more && err == nil, plain(err)
}

// reportUnindexed logs that a session is ours and cannot be read. Handlers that have its key write its names.
func (s *source) reportUnindexed(header nats.Header, err error) {
	party, _, _ := strings.Cut(header.Get(hintHeader), " ")
	if party == s.party && errors.Is(err, sealed.ErrNotOpened) {
		s.logged.Warn("unindexed", "login: a logout by the provider will not find a session, unless a handler with its key writes anew what it is found by", "source", s.cfg.Name, "error", err)
	}
}

// entryTime is how long the next entry is waited for. If the last ones have just been removed, none comes.
const entryTime = 10 * time.Second

func (c *changes) next(ctx context.Context) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, entryTime)
	defer cancel()
	return c.Next(jetstream.NextContext(ctx))
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

// checkIndex returns an error if the index is not, or no longer, one that contains all sessions, or if the
// sessions are others: their bucket may have been restored from a backup since it was last looked at.
func (s *source) checkIndex(ctx context.Context, store *store) error {
	now, err := s.stateOf(ctx, store.index.Bucket())
	if err != nil {
		return plain(err)
	}
	if created, ok := store.indexed.of(); !ok || !created.Equal(now.created) {
		return errIndexLost
	}
	sessions, err := s.stateOf(ctx, s.cfg.Bucket)
	if err != nil {
		return plain(err)
	}
	if seen := store.indexed.sessions.Load(); seen == nil || sessions.isOther(*seen) {
		return errIndexLost
	}
	return nil
}
