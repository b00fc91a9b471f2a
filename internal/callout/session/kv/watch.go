package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
)

// Times of the watch.
const (
	heartbeat         = 2 * time.Second // of the server; the round ends if two in a row are missing
	inactiveThreshold = time.Minute     // after this time without the handler the server deletes the consumer
	retryMin          = 100 * time.Millisecond
	retryMax          = 5 * time.Second
	// checkEvery is how often the bucket is checked for changes that a consumer is not told of.
	checkEvery = time.Second
	// checkHolds is how long the watch counts as live after the last successful check.
	checkHolds = 3 * time.Second
	// provenAfter is after which time a round is known to work: without heartbeats it would have ended.
	provenAfter = 3 * heartbeat
	// unwatchedAfter is how many rounds in a row must fail until WatchError reports it. A new leader of
	// the bucket may end a single one.
	unwatchedAfter = 2
	// pastRead is how far back the watch begins: longer than a replica of the bucket lags behind. It
	// does not report these changes, but a look-up must not return an entry that is older.
	pastRead = 10 * time.Second
	// pastWait is after which time since the source was opened look-ups no longer wait until they are read.
	pastWait = time.Second
)

var (
	errGap       = errors.New("the consumer has skipped a message")
	errConnected = errors.New("the connection was made anew")
	errReplaced  = errors.New("the bucket was deleted and made anew, or restored")
)

// Live implements session.Watched. It reports whether the watch was seen to work lately.
func (s *Source) Live() bool {
	confirmed := s.confirmed.Load()
	return confirmed != 0 && time.Now().UnixNano()-confirmed < int64(checkHolds) && s.nc.IsConnected()
}

// Follows returns the bucket that the watch follows, by the time of its creation. ok is false unless
// the watch works and has seen what the bucket had a second or two ago.
func (s *Source) Follows() (bucket int64, ok bool) {
	bucket = s.caughtUp.Load()
	return bucket, bucket != 0 && s.Live()
}

// confirm notes that the watch works. It does nothing while the last round has failed
// and this one is not proven, because this one may fail as well.
func (s *Source) confirm() {
	if s.failures.Load() == 0 {
		s.confirmed.Store(time.Now().UnixNano())
	}
}

// countFailure counts a round that could not watch a bucket that exists. It returns err.
func (s *Source) countFailure(err error) error {
	if s.failures.Add(1) >= unwatchedAfter {
		unwatched := fmt.Errorf("changes of sessions are not seen, so that a logout closes a connection only at its next renewal: %w; check that the user of the handler may publish to $JS.API.CONSUMER.*, and that max_consumers and max_subscriptions of the account are high enough", err)
		s.unwatched.Store(&unwatched)
	}
	return err
}

// markProven notes that the round works, and resets the failures of earlier ones.
func (s *Source) markProven() {
	if s.failures.Swap(0) > 0 {
		s.unwatched.Store(nil)
		s.confirm()
	}
}

// WatchError returns why the source does not see changes of sessions, although it can
// read the bucket. It returns nil if it sees them, or if there is no bucket.
func (s *Source) WatchError() error {
	if err := s.unwatched.Load(); err != nil {
		return s.failed(*err)
	}
	return nil
}

// reportLost tells the handler that changes may have been missed, so that it drops its
// cached answers.
func (s *Source) reportLost() {
	if s.env.Lost != nil {
		s.env.Lost(s.cfg.Name)
	}
}

// watch follows the bucket until the source is closed. It works in rounds, each with a
// consumer of its own. The consumer begins after the last change that was seen, so that
// a round also gets the changes since the one before, as far as the bucket still has
// them.
func (s *Source) watch(ctx context.Context) {
	defer close(s.stopped)
	var last uint64
	var created time.Time
	status := s.nc.StatusChanged(nats.CONNECTED)
	defer s.nc.RemoveStatusListener(status)
	wait, reported := retryMin, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := s.round(ctx, status, &last, &created)
		s.confirmed.Store(0)
		s.caughtUp.Store(0)
		s.reportLost()
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

// warn logs why a round ended, unless reported, the reason of the one before, is the
// same. It returns the reason.
func (s *Source) warn(err error, reported string) string {
	if err == nil {
		return ""
	}
	if text := err.Error(); text != reported {
		s.env.Log.Warn("session bucket cannot be watched; trying again", "source", s.cfg.Name, "bucket", s.cfg.Bucket, "error", text)
		return text
	}
	return reported
}

// pause waits for the given time, or until the connection is made anew.
func (s *Source) pause(ctx context.Context, connected <-chan nats.Status, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-connected:
	case <-timer.C:
	}
}

// openWithin opens the bucket, and asks again while nothing answers, until ctx ends.
func (s *Source) openWithin(ctx context.Context) (*bucket, error) {
	for {
		trying, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
		b, err := s.open(trying)
		silent := trying.Err() != nil
		cancel()
		if err == nil || !silent || ctx.Err() != nil {
			return b, err
		}
	}
}

// open reads the state of the bucket.
func (s *Source) open(ctx context.Context) (*bucket, error) {
	stream, err := s.js.Stream(ctx, "KV_"+s.cfg.Bucket)
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	name := s.cfg.Bucket
	if m := info.Config.Mirror; m != nil && m.External != nil && m.External.APIPrefix != "" {
		name = strings.TrimPrefix(m.Name, "KV_") // as in nats.go: a mirror keeps the subjects of its origin
	}
	readAt := info.TimeStamp
	if readAt.IsZero() { // an old server
		readAt = time.Now()
	}
	return &bucket{
		stream: stream, prefix: "$KV." + name + ".", maxAge: info.Config.MaxAge,
		direct: info.Config.AllowDirect, created: info.Created, lastRevision: info.State.LastSeq, messages: info.State.Msgs,
		lastWritten: info.State.LastTime, readAt: readAt,
		clockAhead: time.Until(info.TimeStamp), // very negative if an old server sends no time: ago is 0 then
	}, nil
}

// round opens the bucket and follows it until something fails, or until the connection
// is made anew, because the server may have deleted the consumer meanwhile. In the
// latter case it returns nil.
func (s *Source) round(ctx context.Context, connected <-chan nats.Status, last *uint64, created *time.Time) error {
	opening, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
	defer cancel()
	before := s.bucket.Load()
	b, err := s.open(opening)
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			// A bucket that a look-up has found since stays: without it the next round would miss
			// the changes from then on.
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
	if found := s.bucket.Load(); created.IsZero() && found != nil { // a look-up has found it earlier
		*last, *created, s.began = found.lastRevision, found.created, found.readAt
	}
	switch {
	case created.IsZero(): // the first round that finds a bucket
		*last, s.began = b.lastRevision, b.readAt
	case !b.created.Equal(*created), b.lastRevision < *last: // another bucket of that name, or restored from a backup
		*last = 0
		s.revisions.Purge()
		s.pastIsRead() // all of it will be reported
	}
	if b.messages == 0 || s.past.isOpen() {
		s.pastIsRead()
	}
	*created = b.created
	s.bucket.Store(b)
	creating, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
	defer cancel()
	consumer, err := s.createConsumer(creating, b, *last)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return s.countFailure(fmt.Errorf("create consumer: %w", err))
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return s.countFailure(fmt.Errorf("read consumer: %w", err))
	}
	defer func() {
		messages.Stop()
		s.deleteConsumer(ctx, b, consumer)
	}()
	// It is to deliver the last change at least, whatever the replica says of what it has delivered.
	s.pastSeen.Store(min(consumer.CachedInfo().Delivered.Stream, max(*last, 1)-1))
	// Answers from before b was opened are dropped, because check sees only changes since then.
	s.reportLost()
	s.confirm()
	return s.follow(ctx, connected, messages, b, last)
}

// createConsumer creates a consumer that begins after the last change that was seen or, until these
// are read, with the changes of the last seconds before the watch began, and at least with the last one.
// The consumer may be on a replica that lags behind: that it delivers the last one shows that it does not.
func (s *Source) createConsumer(ctx context.Context, b *bucket, last uint64) (jetstream.Consumer, error) {
	wanted := jetstream.ConsumerConfig{
		FilterSubject: b.prefix + ">", AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: inactiveThreshold,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: last + 1,
	}
	if s.began.IsZero() {
		return b.stream.CreateConsumer(ctx, wanted)
	}
	if from := s.began.Add(-pastRead); b.lastWritten.After(from) {
		timed := wanted
		timed.DeliverPolicy, timed.OptStartSeq, timed.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &from
		consumer, err := b.stream.CreateConsumer(ctx, timed)
		if err != nil || consumer.CachedInfo().Delivered.Stream < last {
			return consumer, err
		}
		// It would miss changes: those of a mirror have the times of its origin, which may be old.
		s.deleteConsumer(ctx, b, consumer)
	}
	wanted.OptStartSeq = max(last, 1)
	return b.stream.CreateConsumer(ctx, wanted)
}

// pastIsRead notes that the revisions of the changes before the watch began are known.
func (s *Source) pastIsRead() {
	s.began = time.Time{}
	s.past.open()
}

// deleteConsumer deletes the consumer, so that the server need not keep it until
// inactiveThreshold is over.
func (s *Source) deleteConsumer(ctx context.Context, b *bucket, consumer jetstream.Consumer) {
	if !s.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = b.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name) // after an error the server deletes it later
}

// follow reports the changes that the consumer delivers, and stores the revision of the
// last one in last. It returns nil if the connection is made anew.
func (s *Source) follow(ctx context.Context, connected <-chan nats.Status, messages jetstream.MessagesContext, b *bucket, last *uint64) error {
	s.seen.Store(*last)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer func() { cancel(nil); <-ended }()
	go func() {
		defer close(ended)
		var confirming sync.WaitGroup
		defer confirming.Wait()
		confirming.Go(func() { s.confirmPast(ctx, b) })
		s.checkRegularly(ctx, connected, b, cancel)
	}()
	for number := uint64(1); ; number++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			switch cause := context.Cause(ctx); cause {
			case nil:
				return s.countFailure(fmt.Errorf("read consumer: %w", err))
			case errConnected:
				return nil
			default:
				return cause
			}
		}
		s.markProven()
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != number {
			return errGap
		}
		key := SessionKey(strings.TrimPrefix(m.Subject(), b.prefix))
		if meta.Sequence.Stream <= *last { // from before the watch began
			s.revisions.Add(key, meta.Sequence.Stream)
		} else {
			*last = meta.Sequence.Stream
			s.report(session.Change{
				Key: key, Deleted: deleted(m.Headers()),
				Ago: b.ago(meta.Timestamp), Revision: b.revision(*last, meta.Timestamp),
			})
			s.seen.Store(*last)
		}
		s.pastSeen.Store(meta.Sequence.Stream) // after its revision, which look-ups rely on then
		if meta.Sequence.Stream >= *last {
			s.pastIsRead()
		}
	}
}

// warnAfter is after how many requests without an answer in a row confirmPast says so.
const warnAfter = 3

// report tells the handler of a change. It stores the revision first, so that a look-up
// that begins afterwards does not return an older entry.
func (s *Source) report(c session.Change) {
	c.Source = s.cfg.Name
	s.revisions.Add(c.Key, c.Revision.Sequence)
	if s.env.Changed != nil {
		s.env.Changed(c)
	}
}
