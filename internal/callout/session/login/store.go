package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sealed"
	"stamp/internal/callout/session/internal/stored"
)

// store holds sessions in one bucket. A second bucket, the index, holds what is found by other
// names, so that its changes are no changes of sessions. Its keys are:
//
//	sid.<hash>.<session>  and  sub.<hash>.<session>   to find sessions for a back-channel logout; empty
//	used.<session>                                    used tickets and passes of the session; encrypted
//	lease.<session>                                   until when a handler may refresh the session; or 0 and the session's revision
//	jti.<hash>                                        a logout token that was carried out; empty
//	complete.<party>.<keys>                           an index and a bucket of sessions, of which the index has what handlers with these keys can read
//	end.<sid, sub or alone>.<hash>                    when a logout token ended what the name stands for
type store struct {
	cfg      *Config
	sessions sessionBucket
	index    jetstream.KeyValue
	js       jetstream.JetStream
	indexed  *indexed
	endless  []string // names of buckets without a TTL
}

// entry is a stored session. Grants see the fields of the first group.
type entry struct {
	Claims        map[string]any `json:"claims"` // of the ID token and the userinfo endpoint
	AccessToken   string         `json:"access_token"`
	AccessExpires int64          `json:"access_expires,omitempty"` // Unix seconds; 0: the provider does not say
	Expires       int64          `json:"expires"`                  // end of the session, Unix seconds
	Login         int64          `json:"login"`

	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Subject      string `json:"sub"`
	SID          string `json:"sid,omitempty"`

	Client         string `json:"client,omitempty"`          // client_id of the login; empty in sessions of older releases
	Tenant         string `json:"tenant,omitempty"`          // of the subject, if the issuer has many tenants
	AssumedExpires int64  `json:"assumed_expires,omitempty"` // of the access token if AccessExpires is 0, Unix seconds
	NotBefore      int64  `json:"not_before,omitempty"`      // no refresh before this time, Unix seconds
	Failures       int    `json:"failures,omitempty"`        // of refreshes, in a row

	FromUserInfo []string `json:"from_userinfo,omitempty"` // names of the claims that came from the userinfo endpoint last
}

// visible returns what grants see of a session: the claims, the access token and times. Grants do
// not need the other tokens.
func (e *entry) visible() map[string]any {
	data := maps.Clone(e.Claims)
	if data == nil {
		data = map[string]any{}
	}
	data["sub"], data["access_token"], data["expires"], data["login"] = e.Subject, e.AccessToken, e.Expires, e.Login
	delete(data, "access_expires")
	if e.AccessExpires > 0 {
		data["access_expires"] = e.AccessExpires
	}
	return data
}

func openStore(ctx context.Context, js jetstream.JetStream, c *Config) (*store, error) {
	s := &store{cfg: c, js: js, indexed: newIndexed()}
	sessions, err := s.openBucket(ctx, js, c.Bucket)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, streamOf(c.Bucket))
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", c.Bucket, err)
	}
	s.sessions = withHints(js, c.Place, sessions, stream.CachedInfo().Config.Mirror)
	if s.index, err = s.openBucket(ctx, js, c.indexBucket()); err != nil {
		return nil, err
	}
	if stream, err = js.Stream(ctx, streamOf(c.indexBucket())); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", c.indexBucket(), err)
	}
	created := stream.CachedInfo().Created
	s.indexed.made, s.indexed.since = created, created
	return s, nil
}

// streamOf returns the name of the stream of a bucket.
func streamOf(bucket string) string { return "KV_" + bucket }

// ttl is the least TTL of the buckets. It is longer than the life of a session, so that no entry is
// removed before its session ends.
func (c *Config) ttl() time.Duration { return c.Lifetime + time.Hour }

// buckets returns the names of the two buckets.
func (s *store) buckets() [2]string { return [2]string{s.sessions.Bucket(), s.index.Bucket()} }

func (s *store) openBucket(ctx context.Context, js jetstream.JetStream, name string) (jetstream.KeyValue, error) {
	ttl := s.cfg.ttl()
	bucket, err := js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		bucket, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, TTL: ttl})
	}
	if err == nil {
		err = s.keepLonger(ctx, js, bucket, ttl)
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return bucket, nil
}

// keepLonger raises the TTL of a bucket to ttl. It was lower if the bucket was created with a
// shorter lifetime, or by somebody else.
func (s *store) keepLonger(ctx context.Context, js jetstream.JetStream, bucket jetstream.KeyValue, ttl time.Duration) error {
	status, err := bucket.Status(ctx)
	if err == nil && status.TTL() == 0 {
		s.endless = append(s.endless, bucket.Bucket())
	}
	if err != nil || status.TTL() == 0 || status.TTL() >= ttl {
		return err
	}
	stream, err := js.Stream(ctx, streamOf(bucket.Bucket()))
	if err != nil {
		return err
	}
	config := stream.CachedInfo().Config
	config.MaxAge = ttl
	if _, err := js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("its entries end after %s, before a session does; its TTL must be %s or more, and cannot be changed: %w", status.TTL(), ttl, err)
	}
	return nil
}

const secretSize = 32 // bytes

// newSecret returns 256 random bits, in base64.
func newSecret() string {
	b := make([]byte, secretSize)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashed returns the hash under which a secret is stored. Whoever reads the bucket cannot use it.
func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

var (
	errGone     = errors.New("session has ended")
	errExpired  = fmt.Errorf("%w: its time is over", errGone)
	errTooLarge = fmt.Errorf("the session is too large: its claims and its access token have more than %d bytes, or the bucket takes less", stored.MaxContent)
	errForeign  = session.Unknown("the session is of another provider, tenant or client than those of the configuration")
)

// get returns the session with a key, and its revision. It returns errGone if there is none, errExpired,
// which is an errGone, if its time is over, and errForeign if it belongs to another provider, tenant or
// client. The revision is that of what was read, also where that was no session of ours; 0: of nothing.
func (s *store) get(ctx context.Context, key string) (*entry, uint64, error) {
	found, err := s.sessions.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, 0, errGone
	}
	if err != nil {
		return nil, 0, plain(err)
	}
	e, err := s.cfg.decode(key, found.Value())
	if err != nil {
		return nil, found.Revision(), err
	}
	if e.Expires <= time.Now().Unix() {
		return nil, found.Revision(), errExpired
	}
	return e, found.Revision(), nil
}

// decode decrypts an entry. Handlers with other configurations may use the same bucket and key, by
// mistake or because the configuration was changed. What one provider has vouched for means nothing
// at another one, which must not get the tokens either. The claims say to whom the session belongs,
// because they come from a verified ID token; this holds for entries of all releases. If the ID
// token is for several clients and has no azp, the field Client says at which of them the login
// was.
func (c *Config) decode(key string, value []byte) (*entry, error) {
	text, err := c.keys.Open(key, value)
	if err != nil {
		return nil, err
	}
	var e entry
	if json.Unmarshal(text, &e) != nil {
		return nil, sealed.ErrNotOpened // the error of json may quote what it read
	}
	if c.checkParty(e.Claims) != nil || e.Client != "" && e.Client != c.ClientID {
		return nil, errForeign
	}
	return &e, nil
}

// openVisible returns what grants see of an entry, as JSON.
func (c *Config) openVisible(key string, value []byte) ([]byte, error) {
	e, err := c.decode(key, value)
	if err != nil {
		return nil, err
	}
	return json.Marshal(e.visible())
}

// create stores a session under a new cookie, which it returns.
func (s *store) create(ctx context.Context, e *entry) (cookie string, err error) {
	cookie = newSecret()
	key := hashed(cookie)
	// Before the session, because an index entry without a session does no harm.
	if err := s.putIndex(ctx, key, e); err != nil {
		return "", err
	}
	value, err := s.encode(key, e)
	if err != nil {
		return "", err
	}
	if _, err := s.sessions.Write(ctx, key, value, e.timing().hint(s.cfg.party()), 0); err != nil {
		return "", plain(err)
	}
	return cookie, nil
}

// putIndex writes the index entries by which a back-channel logout finds the session.
func (s *store) putIndex(ctx context.Context, key string, e *entry) error {
	for _, name := range s.cfg.indexNames(e) {
		if _, err := s.index.Put(ctx, name+"."+key, nil); err != nil {
			return plain(err)
		}
	}
	return nil
}

func (s *store) encode(key string, e *entry) ([]byte, error) {
	if err := e.fits(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return nil, errors.New("session cannot be written as JSON")
	}
	return s.cfg.keys.Seal(key, text)
}

// update writes a session if its revision is still the given one, and returns the new revision. It
// writes the index entries again too: the TTL counts from the last write, and they must not be
// removed before the session.
func (s *store) update(ctx context.Context, key string, e *entry, revision uint64) (uint64, error) {
	value, err := s.encode(key, e)
	if err != nil {
		return 0, err
	}
	next, err := s.sessions.Write(ctx, key, value, e.timing().hint(s.cfg.party()), revision)
	if err != nil {
		return 0, plain(err)
	}
	return next, s.putIndex(ctx, key, e)
}

// end deletes a session. Whoever watches the bucket learns of it.
func (s *store) end(ctx context.Context, key string) error {
	return s.endAt(ctx, key)
}

// endUnchanged deletes a session if its revision is still the given one. Otherwise it does nothing.
func (s *store) endUnchanged(ctx context.Context, key string, revision uint64) error {
	err := s.endAt(ctx, key, jetstream.LastRevision(revision))
	if isConflict(err) {
		return nil
	}
	return err
}

func (s *store) endAt(ctx context.Context, key string, options ...jetstream.KVDeleteOpt) error {
	if err := s.sessions.Purge(ctx, key, options...); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return plain(err)
	}
	s.forget(ctx, key)
	return nil
}

// Index names of older releases, which do not include the provider. A refresh adds today's names.
