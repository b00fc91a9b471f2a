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

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
)

// Source finds sessions in a bucket, and watches the bucket for changes.
type Source struct {
	cfg *Config
	env session.Env
	nc  *nats.Conn
	js  jetstream.JetStream

	bucket atomic.Pointer[bucket] // nil until the bucket is found
	// revisions are the revisions of the last changes, by key of the session. A replica
	// of the bucket may return an older entry.
	revisions *lru.Cache[string, uint64]
	// past is opened when revisions has the changes of the last seconds before the source was opened. Until
	// then look-ups ask the leader of the bucket.
	past *gate
	// pastSeen is the sequence up to which the watch has read, before past is opened.
	pastSeen atomic.Uint64
	opened   time.Time // when the source was opened
	leader   *Leader
	// began is when the watch began, by the server's clock; zero if the changes before it were read. Only
	// the watch uses it.
	began time.Time
	// confirmed is when the watch was last seen to work, in Unix nanoseconds; 0: there is no watch.
	confirmed atomic.Int64
	problem   atomic.Pointer[problem] // why the bucket cannot be read; nil: it was found
	// seen is the revision of the last change that the watch has reported. caughtUp is the bucket, by the
	// time of its creation, of which the last check found that the watch had seen all that the bucket had
	// at the check before; 0: it had not.
	seen      atomic.Uint64
	caughtUp  atomic.Int64
	failures  atomic.Int32          // rounds of the watch that failed in a row, since it was last seen to work
	unwatched atomic.Pointer[error] // why the watch has failed several times in a row; nil: it has not

	stop    context.CancelFunc
	stopped chan struct{}
}

// bucket is the stream of the bucket, and its state when it was last read.
type bucket struct {
	stream  jetstream.Stream
	prefix  string // of the subjects of entries
	maxAge  time.Duration
	direct  bool // replicas answer requests for entries
	created time.Time
	// lastRevision is the revision of the last entry, messages the number of messages.
	lastRevision, messages uint64
	lastWritten            time.Time // when the last entry was written, by the server's clock
	readAt                 time.Time // when this was its state, by the server's clock
	// clockAhead is a lower bound of how far the server's clock is ahead of the handler's.
	clockAhead time.Duration
}

// ago returns a lower bound of the time since at, a time of the server's clock. It is 0
// if at seems to be in the future.
func (b *bucket) ago(at time.Time) time.Duration { return max(time.Since(at)+b.clockAhead, 0) }

// revision returns the revision of an entry.
func (b *bucket) revision(sequence uint64, written time.Time) session.Revision {
	return session.Revision{Bucket: b.created.UnixNano(), Sequence: sequence, Written: written.UnixNano()}
}

// maxRevisions is how many revisions are kept: more than there are changes in the time
// that a replica may lag behind.
const maxRevisions = 65536

var (
	errStale = errors.New("the server returned an entry that is older than a change that the handler has seen")
	errTTL   = errors.New("the TTL of the entry is not valid")
	// errOpening: the server has not answered yet since the source was opened.
	errOpening = errors.New("not looked for yet")
)

// Open connects to NATS, and begins to watch the bucket. It does not wait for the
// bucket, because servers that start together answer requests to JetStream only when
// all of them listen. Until the watch has found the bucket, each look-up tries to open
// it.
func (c *Config) Open(ctx context.Context, env session.Env) (session.Source, error) {
	return c.OpenKeys(ctx, env)
}

// OpenKeys is Open for callers that also look sessions up by the keys of entries.
func (c *Config) OpenKeys(ctx context.Context, env session.Env) (*Source, error) {
	nc, err := env.Connect(c.Account)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	js, err := c.JetStream(nc)
	if err != nil {
		return nil, err
	}
	revisions, err := lru.New[string, uint64](maxRevisions)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Source{
		cfg: c, env: env, nc: nc, js: js, leader: c.Leader(nc, "KV_"+c.Bucket), revisions: revisions, past: newGate(), opened: time.Now(),
		stop: stop, stopped: make(chan struct{}),
	}
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

// Accepts accepts cookies and tokens from which a valid key can be made.
func (s *Source) Accepts(r *session.Request) (string, bool) {
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token {
		return "", false
	}
	return keyOf(s.cfg.template, s.cfg.Hash, r.Credential.Value)
}

// Find returns the session in the entry of the credential.
func (s *Source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	key, ok := s.Accepts(r)
	if !ok {
		return nil, session.ErrUnknown
	}
	return s.FindKey(ctx, key)
}

// FindKey returns the session in the entry with this key.
func (s *Source) FindKey(ctx context.Context, key string) (*session.Session, error) {
	b := s.bucket.Load()
	if b == nil {
		// The watch tries to open it as well, but less often.
		var err error
		if b, err = s.openWithin(ctx); err != nil {
			return nil, s.failed(s.explain(err))
		}
		// The watch then begins at the revision that b has, so that it misses no later change.
		s.bucket.CompareAndSwap(nil, b)
	}
	name := SessionKey(key)
	m, err := s.newest(ctx, b, key, name)
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

// newest reads an entry. While the watch has not read the last changes from before the source was opened, or
// keeps failing, it reads from the leader of the bucket: nothing else tells whether the answer of a replica is
// older.
func (s *Source) newest(ctx context.Context, b *bucket, key, name string) (*jetstream.RawStreamMsg, error) {
	if s.past.wait(ctx, s.opened.Add(min(pastWait, s.cfg.Timeout/2))) && s.unwatched.Load() == nil {
		return s.current(ctx, b, key, name)
	}
	m, err := s.leader.Last(ctx, b.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, jetstream.ErrMsgNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("the last changes have not been read, so the leader of the bucket has to answer %s: %w", s.leader.subject, withoutSubject(err))
	}
	return m, nil
}

// How often, and after which pause, an entry is read again while it is stale.
const (
	staleTries = 10
	stalePause = 10 * time.Millisecond
)

// current reads an entry. It reads again while the answer is older than the last change
// that the watch has seen: a replica may lag behind for a moment.
func (s *Source) current(ctx context.Context, b *bucket, key, name string) (*jetstream.RawStreamMsg, error) {
	for try := 1; ; try++ {
		m, err := b.stream.GetLastMsgForSubject(ctx, b.prefix+key)
		missing := errors.Is(err, jetstream.ErrMsgNotFound)
		if err != nil && !missing {
			return nil, withoutSubject(err)
		}
		newest, changed := s.revisions.Get(name)
		switch {
		case missing && !changed:
			return nil, jetstream.ErrMsgNotFound
		case missing:
			gone, err := s.isMissing(ctx, b, key)
			if err != nil {
				return nil, err
			}
			if gone {
				return nil, jetstream.ErrMsgNotFound
			}
		case !changed || m.Sequence >= newest:
			return m, nil
		}
		if try == staleTries {
			return nil, errStale
		}
		select {
		case <-ctx.Done():
			return nil, errStale
		case <-time.After(stalePause):
		}
	}
}

// isMissing asks the leader of the bucket whether the entry is missing. A replica without the
// entry may lag behind. The watch cannot tell, because it is not told of entries that a
// limit, a purge or the deletion of a message removes.
func (s *Source) isMissing(ctx context.Context, b *bucket, key string) (bool, error) {
	// A stream of its own, because Info stores its result in the stream, and b.stream is shared.
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

// Has reports whether the bucket has an entry with this key, or the delete marker of
// one. It asks the leader of the bucket, because a replica may lag behind.
func (s *Source) Has(ctx context.Context, key string) (bool, error) {
	b := s.bucket.Load()
	if b == nil {
		var err error
		if b, err = s.openWithin(ctx); err != nil {
			return false, s.failed(s.explain(err))
		}
	}
	gone, err := s.isMissing(ctx, b, key)
	if err != nil {
		return false, s.failed(err)
	}
	return !gone, nil
}

func (s *Source) failed(err error) error {
	return fmt.Errorf("bucket %s: %w", s.cfg.Bucket, err)
}

// withoutSubject replaces an error that is not in its list by a fixed text: the text of
// another error might name the subject, and with it the credential.
func withoutSubject(err error) error {
	for _, harmless := range []error{
		context.DeadlineExceeded, context.Canceled, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed,
		nats.ErrConnectionDraining, nats.ErrDisconnected, nats.ErrPermissionViolation, jetstream.ErrStreamNotFound,
		jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount,
	} {
		if errors.Is(err, harmless) {
			return harmless
		}
	}
	return errors.New("read entry: unexpected answer of the server")
}

// read returns the session in an entry.
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
	return &session.Session{Data: data, Expires: expires, Revision: b.revision(m.Sequence, m.Time)}, nil
}

// opHeader is the header with which clients mark an entry as deleted or purged.
const opHeader = "KV-Operation"

// deleted reports whether a message is the marker of an entry that was deleted or
// purged, or whose TTL is over. For the latter the server writes a marker of its own.
func deleted(h nats.Header) bool {
	switch h.Get(opHeader) {
	case "DEL", "PURGE":
		return true
	}
	return h.Get(jetstream.MarkerReasonHeader) != ""
}
