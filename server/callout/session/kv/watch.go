package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Times of the watch.
const (
	heartbeat = 2 * time.Second // of the server; two missing ones begin a new round
	idle      = time.Minute     // after that the server forgets a consumer that is gone
	retryMin  = 100 * time.Millisecond
	retryMax  = 5 * time.Second
	// What the watch is not told of is looked for that often, and the watch counts as one for so long
	// after it was last found to work.
	checkEvery = time.Second
	checkHolds = 3 * time.Second
	// A watch that has lasted so long works: it would have ended for want of heartbeats.
	provenAfter = 3 * heartbeat
	// unwatchedAfter is how many rounds in turn must fail until that is told. A new leader may end one.
	unwatchedAfter = 2
)

var (
	errGap       = errors.New("a message is missing")
	errConnected = errors.New("connected anew")
	errReplaced  = errors.New("the bucket was made anew")
)

// Live tells whether the bucket is watched: what is cached may be used then.
func (s *Source) Live() bool {
	confirmed := s.confirmed.Load()
	return confirmed != 0 && time.Now().UnixNano()-confirmed < int64(checkHolds) && s.nc.IsConnected()
}

// confirm notes that the bucket is watched, unless the last round has failed and this one may fail as well.
func (s *Source) confirm() {
	if s.failures.Load() == 0 {
		s.confirmed.Store(time.Now().UnixNano())
	}
}

// failedRound notes that a bucket that was found cannot be watched.
func (s *Source) failedRound(err error) error {
	if s.failures.Add(1) >= unwatchedAfter {
		unwatched := fmt.Errorf("changes of sessions are not seen, so that a logout closes no connection before its next renewal: %w; may the user of the handler use $JS.API.CONSUMER.*, and do max_consumers and max_subscriptions of the account leave room?", err)
		s.unwatched.Store(&unwatched)
	}
	return err
}

// proven notes that the watch works.
func (s *Source) proven() {
	if s.failures.Swap(0) > 0 {
		s.unwatched.Store(nil)
		s.confirm()
	}
}

// Unwatched returns why changes of sessions are not seen, although the sessions can be read; nil: they are, or the bucket
// is not there.
func (s *Source) Unwatched() error {
	if err := s.unwatched.Load(); err != nil {
		return s.failed(*err)
	}
	return nil
}

// lose drops what is cached: changes may have been missed.
func (s *Source) lose() {
	if s.env.Lost != nil {
		s.env.Lost(s.cfg.Name)
	}
}

// watch follows the bucket until the source is closed. It goes in rounds, each
// with a consumer of its own, which begin after the last change that was seen:
// what is missed between two rounds is made up for, as long as the bucket keeps it.
func (s *Source) watch(ctx context.Context) {
	defer close(s.stopped)
	var last uint64
	var created time.Time
	if b := s.bucket.Load(); b != nil {
		last, created = b.last, b.created
	}
	status := s.nc.StatusChanged(nats.CONNECTED)
	defer s.nc.RemoveStatusListener(status)
	wait, reported := retryMin, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := s.round(ctx, status, &last, &created)
		s.confirmed.Store(0)
		s.lose()
		if ctx.Err() != nil {
			return
		}
		if err == nil || time.Since(began) > retryMax {
			wait = retryMin
		}
		reported = s.warn(err, reported)
		s.pause(ctx, status, wait)
		wait = min(wait*2, retryMax)
	}
}

// warn logs why a round ended, once for each reason, and returns the reason.
func (s *Source) warn(err error, reported string) string {
	if err == nil {
		return ""
	}
	if text := err.Error(); text != reported {
		s.env.Log.Warn("session bucket cannot be watched, trying again", "source", s.cfg.Name, "bucket", s.cfg.Bucket, "error", text)
		return text
	}
	return reported
}

// pause waits, but not longer than until the connection is made anew.
func (s *Source) pause(ctx context.Context, connected <-chan nats.Status, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-connected:
	case <-timer.C:
	}
}

// open finds the bucket.
func (s *Source) open(ctx context.Context) (*bucket, error) {
	stream, err := s.js.Stream(ctx, "KV_"+s.cfg.Bucket)
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	name := s.cfg.Bucket
	if m := info.Config.Mirror; m != nil && m.External != nil && m.External.APIPrefix != "" {
		name = strings.TrimPrefix(m.Name, "KV_") // as nats.go does: a mirror keeps the subjects
	}
	return &bucket{
		stream: stream, prefix: "$KV." + name + ".", maxAge: info.Config.MaxAge,
		direct: info.Config.AllowDirect, created: info.Created, last: info.State.LastSeq, messages: info.State.Msgs,
		clock: time.Until(info.TimeStamp), // an old server tells no time: nothing is known to be long ago then
	}, nil
}

// round opens the bucket and follows it until something fails, or the connection
// is made anew: the server may have forgotten the consumer then. It returns nil for the latter.
func (s *Source) round(ctx context.Context, connected <-chan nats.Status, last *uint64, created *time.Time) error {
	opening, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	before := s.bucket.Load()
	b, err := s.open(opening)
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			// Not one that a look-up has found since: what changes from then on would be missed.
			s.bucket.CompareAndSwap(before, nil)
		}
		if ctx.Err() != nil {
			return err
		}
		p := s.explain(err)
		s.problem.Store(p)
		return p
	}
	s.problem.Store(nil)
	if found := s.bucket.Load(); created.IsZero() && found != nil { // a look-up was first
		*last, *created = found.last, found.created
	}
	switch {
	case created.IsZero(): // the first one
		*last = b.last
	case !b.created.Equal(*created), b.last < *last: // another one of that name, or restored
		*last = 0
		s.changed.Purge()
	}
	*created = b.created
	s.bucket.Store(b)
	consumer, err := b.stream.CreateConsumer(opening, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *last + 1,
		FilterSubject: b.prefix + ">", AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: idle,
	})
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return s.failedRound(fmt.Errorf("create consumer: %w", err))
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return s.failedRound(fmt.Errorf("read consumer: %w", err))
	}
	defer func() {
		messages.Stop()
		s.forget(ctx, b, consumer)
	}()
	// Answers from before b was opened are dropped, because check compares with b.
	s.lose()
	s.confirm()
	return s.follow(ctx, connected, messages, b, last)
}

// forget deletes the consumer; the server does so too, later.
func (s *Source) forget(ctx context.Context, b *bucket, consumer jetstream.Consumer) {
	if !s.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = b.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name) // it is gone already, or will be
}

// follow reports the changes that the consumer has.
func (s *Source) follow(ctx context.Context, connected <-chan nats.Status, messages jetstream.MessagesContext, b *bucket, last *uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer func() { cancel(nil); <-ended }()
	go func() {
		defer close(ended)
		s.checks(ctx, connected, b, cancel)
	}()
	for number := uint64(1); ; number++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			switch cause := context.Cause(ctx); cause {
			case nil:
				return s.failedRound(fmt.Errorf("read consumer: %w", err))
			case errConnected:
				return nil
			default:
				return cause
			}
		}
		s.proven()
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != number {
			return errGap
		}
		*last = meta.Sequence.Stream
		s.report(strings.TrimPrefix(m.Subject(), b.prefix), *last, deleted(m.Headers()), b.ago(meta.Timestamp))
	}
}

// checks looks for what the watch is not told of, until ctx ends, and ends the round by cancel.
func (s *Source) checks(ctx context.Context, connected <-chan nats.Status, b *bucket, cancel context.CancelCauseFunc) {
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
			s.proven()
		}
		next, err := s.check(ctx, b)
		if err != nil {
			cancel(err)
			return
		}
		b = next
	}
}

// check compares the bucket with what it was. Consumers are not told of messages that are removed
// without another in their place: by a purge of the stream, by the deletion of a message, by a limit.
// Each entry that replaces another removes one as well, and nothing tells these apart, so that all
// that is cached is dropped either way.
func (s *Source) check(ctx context.Context, b *bucket) (*bucket, error) {
	asking, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	next, err := s.open(asking)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, s.explain(err)
	case err != nil:
		return b, nil // it counts as watched for a while, and when this works again
	case !next.created.Equal(b.created), next.last < b.last:
		return nil, errReplaced
	}
	s.bucket.Store(next) // its configuration may be another one now
	if next.maxAge != b.maxAge || next.direct != b.direct || next.messages < b.messages+(next.last-b.last) {
		s.lose()
	}
	s.confirm()
	return next, nil
}

// report tells the handler of a change. The revision is remembered before: a
// look-up that begins afterwards must not find what was before.
func (s *Source) report(key string, revision uint64, deleted bool, ago time.Duration) {
	name := SessionKey(key)
	s.changed.Add(name, revision)
	if s.env.Changed != nil {
		s.env.Changed(s.cfg.Name, name, deleted, ago)
	}
}
