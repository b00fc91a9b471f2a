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
)

var (
	errGap       = errors.New("a message is missing")
	errConnected = errors.New("connected anew")
)

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
		created: info.Created, last: info.State.LastSeq,
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
		return err
	}
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
		return fmt.Errorf("create consumer: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return fmt.Errorf("read consumer: %w", err)
	}
	defer func() {
		messages.Stop()
		s.forget(ctx, b, consumer)
	}()
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
		select {
		case <-ctx.Done():
		case <-connected:
			cancel(errConnected)
		}
	}()
	for number := uint64(1); ; number++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if context.Cause(ctx) == errConnected {
				return nil
			}
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != number {
			return errGap
		}
		*last = meta.Sequence.Stream
		s.report(strings.TrimPrefix(m.Subject(), b.prefix), *last, deleted(m.Headers()))
	}
}

// report tells the handler of a change. The revision is remembered before: a
// look-up that begins afterwards must not find what was before.
func (s *Source) report(key string, revision uint64, deleted bool) {
	name := SessionKey(key)
	s.changed.Add(name, revision)
	if s.env.Changed != nil {
		s.env.Changed(s.cfg.Name, name, deleted)
	}
}
