package login

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session/internal/sealed"
)

// refreshAll follows the bucket and refreshes the tokens of each session before they expire. All
// handlers do that; a lease makes sure that one of them sends the request.
func (s *source) refreshAll(ctx context.Context) {
	var index *sharedIndex // of the last round; nil: none
	defer func() {
		if index != nil {
			index.release()
		}
	}()
	failed := 0 // in a row
	for ctx.Err() == nil {
		err := s.refreshRound(ctx, &index)
		if failed++; err == nil {
			failed = 0
		}
		if failed >= certainly { // servers that start together have no JetStream at first
			s.cannotRefresh(ctx, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// certainly is the number of failed rounds in a row after which the buckets count as unusable.
const certainly = 2

// refreshRound follows the buckets until one of them is created anew, or the consumer ends. It returns
// an error if they cannot be followed. index is that of the last round, and is replaced if the bucket
// is another one.
func (s *source) refreshRound(ctx context.Context, index **sharedIndex) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	store, err := s.opened(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.logged.Warn("store", "login: sessions cannot be kept yet", "source", s.cfg.Name, "error", err)
		}
		return err
	}
	var streams [2]streamState
	var gone error
	for i, name := range store.buckets() { // before the consumer, so that later changes are noticed
		streams[i], err = s.stateOf(ctx, name)
		if err == nil {
			continue
		}
		err = fmt.Errorf("bucket %s: %w", name, err)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		gone = err
	}
	if gone != nil {
		s.lookAfter(ctx, store, streams)
		return gone
	}
	if created, ok := store.indexed.of(); ok && !created.Equal(streams[1].created) {
		s.store.CompareAndSwap(store, nil) // another bucket was indexed
		return nil
	}
	if seen := store.indexed.sessions.Load(); seen != nil && streams[0].isOther(*seen) {
		s.noteReplaced(0) // the end of the consumer may have ended lookAfter before it noticed
		s.store.CompareAndSwap(store, nil)
		return nil
	}
	if err := s.chooseIndex(ctx, index, streams[0]); err != nil {
		return fmt.Errorf("bucket %s: %w", s.cfg.Bucket, plain(err))
	}
	due := (*index).dueIndex
	changes, err := s.consume(ctx, due.last()+1, headersOnly)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", s.cfg.Bucket, plain(err))
	}
	defer changes.stop()
	s.work.Go(func() {
		defer cancel()
		s.lookAfter(ctx, store, streams)
	})
	s.work.Go(func() {
		if err := s.complete(ctx, store, streams); err != nil {
			s.cannotRefresh(ctx, fmt.Errorf("bucket %s: %w", s.cfg.indexBucket(), err))
			cancel() // the next round tries again
		} else if s.leases.Wait() == 0 && !s.stores.Closed() {
			s.unable.Store(nil)
		}
	})
	s.work.Go(func() { s.refreshInTurn(ctx, store, due) })
	s.follow(ctx, changes, due)
	return nil
}

// chooseIndex makes index that of the sessions' bucket, whose state is given. An index that has seen a
// later sequence than the bucket has is replaced: the bucket was restored from a backup.
func (s *source) chooseIndex(ctx context.Context, index **sharedIndex, sessions streamState) error {
	name := s.cfg.indexName(sessions.created)
	if *index == nil || (*index).name != name {
		before := *index
		*index = shareIndex(name)
		if before != nil {
			before.release()
		}
	}
	seen := (*index).last()
	if seen <= sessions.last {
		return nil
	}
	// Another source that follows the bucket may have applied changes since its state was told, so it has
	// to be asked after the index.
	sessions, err := s.stateOf(ctx, s.cfg.Bucket)
	if err == nil && seen > sessions.last {
		*index = (*index).anew()
	}
	return err
}

// indexName returns the name of the index for the bucket that was created at a time. It includes what
// decides what the index has: whose sessions, and when they are due.
func (c *Config) indexName(created time.Time) string {
	text, _ := json.Marshal([]any{ // strings and numbers have no errors
		c.Bucket, c.Account, c.Place, created.UnixNano(), c.party(), c.RefreshBefore, c.refreshSet, c.Key.Reveal(),
	})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// changes is a consumer of the sessions' bucket.
type changes struct {
	jetstream.MessagesContext
	stop    func()
	prefix  string // of the subjects of entries
	pending uint64 // number of entries at first
}

// Times and sizes of the consumer.
const (
	consumerHeartbeat = 2 * time.Second // of the server; the round ends if two in a row are missing
	consumerIdle      = time.Minute     // after this time without the handler the server deletes the consumer
)

// content is what a consumer reads of entries. Its value is how many of them are on their way at once:
// headers are short, and with fewer of them a whole bucket would take many round trips.
type content int

const (
	headersOnly content = 20_000
	withContent content = 100
)

// consume begins to read all entries from a sequence on.
func (s *source) consume(ctx context.Context, from uint64, what content) (*changes, error) {
	asking, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
	defer cancel()
	stream, err := s.js.Stream(asking, streamOf(s.cfg.Bucket))
	if err != nil {
		return nil, err
	}
	prefix := subjectsOf(stream)
	consumer, err := stream.CreateConsumer(asking, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		FilterSubject: prefix + ">", AckPolicy: jetstream.AckNonePolicy, HeadersOnly: what == headersOnly,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerIdle,
	})
	if err != nil {
		return nil, err
	}
	remove := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = stream.DeleteConsumer(ctx, consumer.CachedInfo().Name) // after an error the server deletes it later
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(consumerHeartbeat), jetstream.PullMaxMessages(int(what)))
	if err != nil {
		remove()
		return nil, err
	}
	return &changes{messages, func() { messages.Stop(); remove() }, prefix, consumer.CachedInfo().NumPending}, nil
}

// subjectsOf returns what the subjects of a bucket's entries begin with. In a mirror, it is that of its origin.
func subjectsOf(bucket jetstream.Stream) string {
	config := bucket.CachedInfo().Config
	name := config.Name
	if config.Mirror != nil {
		name = config.Mirror.Name
	}
	return "$KV." + strings.TrimPrefix(name, streamOf("")) + "."
}

// follow gives the index the changes of the bucket until the consumer ends or skips a message. The next
// round goes on after the last one.
func (s *source) follow(ctx context.Context, from *changes, due *dueIndex) {
	for number := uint64(1); ; number++ {
		m, err := from.Next(jetstream.NextContext(ctx))
		if err != nil {
			return
		}
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Consumer != number {
			return
		}
		due.apply(s.changeOf(meta.Sequence.Stream, strings.TrimPrefix(m.Subject(), from.prefix), m.Headers()))
	}
}

// changeOf returns what the header of an entry says of its session. If it says nothing, the entry has
// to be read.
func (s *source) changeOf(sequence uint64, key string, header nats.Header) change {
	c := change{sequence: sequence, key: key}
	if isDeletion(header) {
		c.remove = true
		return c
	}
	t, ok := parseHint(header.Get(hintHeader), s.party)
	if !ok {
		return c
	}
	wait, refreshed := s.dueIn(t)
	c.remove, c.ends, c.wait = !refreshed, t.ends, wait
	return c
}

// isDeletion reports whether an entry with this header is the marker of a deletion.
func isDeletion(header nats.Header) bool {
	return header.Get(jetstream.MarkerReasonHeader) != "" || header.Get("KV-Operation") != ""
}

// refreshInTurn refreshes the sessions that are due until ctx ends, as many at once as the pace
// permits. The others wait in the index, without a goroutine.
func (s *source) refreshInTurn(ctx context.Context, store *store, due *dueIndex) {
	for due.ready(ctx) {
		if wait := s.held(ctx); wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			continue
		}
		if !s.pace.enter(ctx) {
			return
		}
		d, ok := due.take()
		if !ok {
			s.pace.leave()
			continue
		}
		s.work.Go(func() { s.turn(ctx, store, due, d) })
	}
}

// held returns how long no refresh can succeed: the provider or the bucket of leases is away, or
// that of the sessions takes no tokens.
func (s *source) held(ctx context.Context) time.Duration {
	if wait := max(s.gate.Held(), s.leases.Held(), s.stores.Held()); wait > 0 {
		return wait
	}
	return s.provider.Ready(ctx)
}

// turn refreshes a session, and makes it due again if that has failed.
func (s *source) turn(ctx context.Context, store *store, due *dueIndex, d refreshDue) {
	next := s.refresh(ctx, store, d)
	s.pace.leave()
	if next.unstored != nil {
		next = s.storeLater(store, next)
	}
	if next.wait > 0 {
		due.again(next.refreshDue, next.wait)
	}
}

// read reads an entry whose header does not say when its session is due: an older release wrote it, or
// another provider, tenant or client.
func (s *source) read(ctx context.Context, store *store, d refreshDue) retry {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
	defer cancel()
	e, _, err := store.get(ctx, d.key)
	if err != nil {
		return s.unread(ctx, d, err)
	}
	return s.nextOf(d.key, e)
}

// unread returns when to try again after an entry could not be read: never if that cannot change without
// a change of the bucket, which makes the session due again.
func (s *source) unread(ctx context.Context, d refreshDue, err error) retry {
	later := retry{refreshDue: d, wait: retryRefresh}
	switch {
	case errors.Is(err, errExpired):
		return retry{}
	case errors.Is(err, errGone):
		if gone, err := s.isGone(ctx, d.key); err != nil || !gone {
			return later
		}
		return retry{}
	case errors.Is(err, errForeign):
		s.logged.Warn("foreign", "login: the bucket has sessions of another provider, tenant or client than those of the configuration; they are left alone", "source", s.cfg.Name, "bucket", s.cfg.Bucket)
		return retry{}
	case errors.Is(err, sealed.ErrNotOpened):
		s.metrics.refreshFailures.Inc()
		s.logged.Error("entry", "session cannot be refreshed", "source", s.cfg.Name, "error", err)
		return retry{}
	}
	return later
}

// isGone reports whether it is certain that an entry that was not found is gone. The replica of the bucket
// that was asked may be behind: the leader says whether there is anything under the key. If there is, only
// the marker of a deletion says that the session is gone, from whichever replica, since no key is used
// again.
func (s *source) isGone(ctx context.Context, key string) (bool, error) {
	stream, err := s.js.Stream(ctx, streamOf(s.cfg.Bucket))
	if err != nil {
		return false, plain(err)
	}
	subject := subjectsOf(stream) + key
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return false, plain(err)
	}
	if info.State.Subjects[subject] == 0 {
		return true, nil
	}
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return false, plain(err)
	}
	return isDeletion(m.Header), nil
}
