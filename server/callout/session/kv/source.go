package kv

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
)

// Source is an open bucket.
type Source struct {
	cfg *Config
	env session.Env
	nc  *nats.Conn
	js  jetstream.JetStream

	bucket atomic.Pointer[bucket] // nil: not found yet
	// changed are the revisions of the last changes, by key of the session. A
	// replica of the bucket may be behind them.
	changed *lru.Cache[string, uint64]
	// confirmed is when the watch was last seen to work, in nanoseconds since 1970; 0: there is none.
	confirmed atomic.Int64
	problem   atomic.Pointer[problem] // nil: the bucket was found
	failures  atomic.Int32            // of rounds of the watch in turn, since it was last seen to work
	unwatched atomic.Pointer[error]   // why there is no watch, where that has lasted

	stop    context.CancelFunc
	stopped chan struct{}
}

// bucket is where the entries are.
type bucket struct {
	stream  jetstream.Stream
	prefix  string // of the subjects of entries
	maxAge  time.Duration
	direct  bool // replicas are asked for entries
	created time.Time
	// The revision of the last entry, and how many messages there were, when it was opened.
	last, messages uint64
	// clock is how far the server's clock is ahead of ours, or less; ours is behind where that is negative.
	clock time.Duration
}

// ago is how long ago the server says something was, or less: 0 where the clocks do not agree.
func (b *bucket) ago(at time.Time) time.Duration { return max(time.Since(at)+b.clock, 0) }

// rememberedChanges is how many changes are remembered: more than happen in the
// time that a replica may be behind.
const rememberedChanges = 65536

var (
	errBehind = errors.New("answer is older than a change that is known already")
	errTTL    = errors.New("entry has a TTL that is not understood")
	// errOpening: no answer has come yet since the source was opened.
	errOpening = errors.New("not looked for yet")
)

// Open connects, and begins to watch the bucket. It waits for nothing: servers that start together answer requests to
// JetStream only when all of them listen. Until the bucket is found, look-ups look for it themselves.
func (c *Config) Open(ctx context.Context, env session.Env) (session.Source, error) {
	return c.OpenKeys(ctx, env)
}

// OpenKeys is Open, for who has keys of entries too.
func (c *Config) OpenKeys(ctx context.Context, env session.Env) (*Source, error) {
	nc, err := env.Connect(c.Account)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	js, err := c.JetStream(nc)
	if err != nil {
		return nil, err
	}
	changed, err := lru.New[string, uint64](rememberedChanges)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Source{cfg: c, env: env, nc: nc, js: js, changed: changed, stop: stop, stopped: make(chan struct{})}
	s.problem.Store(&problem{text: "the bucket is being looked for", cause: errOpening})
	go s.watch(running)
	return s, nil
}

// Close ends the watch.
func (s *Source) Close() error {
	s.stop()
	<-s.stopped
	return nil
}

// Accepts takes cookies and tokens that a key can be made of.
func (s *Source) Accepts(r *session.Request) (string, bool) {
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token {
		return "", false
	}
	return keyOf(s.cfg.template, s.cfg.Hash, r.Credential.Value)
}

// Find reads the entry.
func (s *Source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	key, ok := s.Accepts(r)
	if !ok {
		return nil, session.ErrUnknown
	}
	return s.FindKey(ctx, key)
}

// FindKey is Find for the key of an entry.
func (s *Source) FindKey(ctx context.Context, key string) (*session.Session, error) {
	b := s.bucket.Load()
	if b == nil {
		// The watch looks for it too, but only now and then.
		var err error
		if b, err = s.open(ctx); err != nil {
			return nil, s.failed(s.explain(err))
		}
		// So that the watch begins before what is found now.
		s.bucket.CompareAndSwap(nil, b)
	}
	name := SessionKey(key)
	m, err := s.current(ctx, b, key, name)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, session.ErrUnknown
	}
	if err != nil {
		return nil, s.failed(err)
	}
	if deleted(m.Header) {
		return nil, session.ErrUnknown
	}
	found, err := s.read(key, m, b)
	if err != nil {
		return nil, s.failed(err)
	}
	if found.Ended(time.Now()) {
		return nil, session.ErrUnknown
	}
	found.Key = name
	return found, nil
}

// Times of readings of an entry that is behind a change that is known.
const (
	behindTries = 10
	behindPause = 10 * time.Millisecond
)

// current reads an entry that is not behind the changes that are known: one may come while it is
// read, and a replica may need a moment.
func (s *Source) current(ctx context.Context, b *bucket, key, name string) (*jetstream.RawStreamMsg, error) {
	for try := 1; ; try++ {
		m, err := b.stream.GetLastMsgForSubject(ctx, b.prefix+key)
		missing := errors.Is(err, jetstream.ErrMsgNotFound)
		if err != nil && !missing {
			return nil, withoutSubject(err)
		}
		newest, changed := s.changed.Get(name)
		switch {
		case missing && !changed:
			return nil, jetstream.ErrMsgNotFound
		case missing:
			gone, err := s.gone(ctx, b, key)
			if err != nil {
				return nil, err
			}
			if gone {
				return nil, jetstream.ErrMsgNotFound
			}
		case !changed || m.Sequence >= newest:
			return m, nil
		}
		if try == behindTries {
			return nil, errBehind
		}
		select {
		case <-ctx.Done():
			return nil, errBehind
		case <-time.After(behindPause):
		}
	}
}

// gone asks the leader of the bucket whether it has no entry: a replica that does not have one may be behind, or a limit,
// a purge, or the deletion of a message has removed it, which changes do not tell.
func (s *Source) gone(ctx context.Context, b *bucket, key string) (bool, error) {
	// Not the stream of b, which others read: it keeps what it is told.
	stream, err := s.js.Stream(ctx, "KV_"+s.cfg.Bucket)
	if err != nil {
		return false, withoutSubject(err)
	}
	subject := b.prefix + key
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return false, withoutSubject(err)
	}
	return info.State.Subjects[subject] == 0, nil
}

// Has tells whether there is an entry under a key, or the mark of one that was deleted. The leader of the bucket tells:
// a replica may be behind.
func (s *Source) Has(ctx context.Context, key string) (bool, error) {
	b := s.bucket.Load()
	if b == nil {
		var err error
		if b, err = s.open(ctx); err != nil {
			return false, s.failed(s.explain(err))
		}
	}
	gone, err := s.gone(ctx, b, key)
	if err != nil {
		return false, s.failed(err)
	}
	return !gone, nil
}

func (s *Source) failed(err error) error {
	return fmt.Errorf("bucket %s: %w", s.cfg.Bucket, err)
}

// withoutSubject drops the text of an error that is not a known one: it might
// name the subject, and with it the credential.
func withoutSubject(err error) error {
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed,
		nats.ErrConnectionDraining, nats.ErrDisconnected, nats.ErrPermissionViolation, jetstream.ErrStreamNotFound,
		jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errors.New("read entry: unexpected answer of the server")
}

// read makes a session of an entry.
func (s *Source) read(key string, m *jetstream.RawStreamMsg, b *bucket) (*session.Session, error) {
	content := m.Data
	if s.cfg.decode != nil {
		var err error
		if content, err = s.cfg.decode(key, content); err != nil {
			return nil, err
		}
	}
	data, err := stored.Object(content)
	if err != nil {
		return nil, err
	}
	expires, err := stored.Expires(data, s.cfg.Expires)
	if err != nil {
		return nil, err
	}
	if b.maxAge > 0 {
		expires = stored.Earlier(expires, m.Time.Add(b.maxAge))
	}
	ttl, err := entryTTL(m.Header)
	if err != nil {
		return nil, err
	}
	if ttl > 0 {
		expires = stored.Earlier(expires, m.Time.Add(ttl))
	}
	return &session.Session{Data: data, Expires: expires}, nil
}

// Headers of an entry, and what the server itself leaves for one that is gone.
const opHeader = "KV-Operation"

// deleted tells whether an entry is the mark of one that was deleted, purged, or
// whose TTL is over.
func deleted(h nats.Header) bool {
	switch h.Get(opHeader) {
	case "DEL", "PURGE":
		return true
	}
	return h.Get(jetstream.MarkerReasonHeader) != ""
}
