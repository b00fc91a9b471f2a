package login

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"stamp/internal/callout/session/internal/sealed"
	"stamp/internal/callout/session/kv"
)

// indexNames returns the index names of a session: of its person and, if it has a sid, of the
// provider's session.
func (c *Config) indexNames(e *entry) []string {
	names := []string{c.named("sub", e.Tenant, e.Subject)}
	if e.SID != "" {
		names = append(names, c.named("sid", e.Tenant, e.SID))
	}
	return names
}

// named returns the index name for a name that a tenant of the provider uses. It includes provider
// and client, because by mistake the bucket may have sessions of others, who may use the same
// names. A session that no key of ours decrypts does not say to whom it belongs in any other way.
func (c *Config) named(what, tenant, name string) string {
	text, _ := json.Marshal([]string{c.Issuer, c.ClientID, tenant, name}) // strings have no errors
	return what + "." + hashed(string(text))
}

func oldSubjectName(tenant, subject string) string {
	if tenant != "" {
		subject = tenant + "\n" + subject
	}
	return "sub." + hashed(subject)
}

func oldSIDName(sid string) string { return "sid." + hashed(sid) }

// endsAtOnce is the number of sessions that are ended concurrently.
const endsAtOnce = 16

// lookup is one way to find the sessions that a logout token names.
type lookup struct {
	name           string // index name
	tenant         string
	onlyWithoutSID bool
	old            bool // the name is one of an older release, and may be another provider's
}

// lookups returns the ways to find the sessions that a logout token names. With a sid, these are
// the sessions with that sid, and those of the subject without a sid. Without a sid, these are all
// sessions of the subject.
func (c *Config) lookups(t logoutToken) (all []lookup) {
	if t.sid != "" {
		all = append(all,
			lookup{name: c.named("sid", t.tenant, t.sid), tenant: t.tenant},
			lookup{name: oldSIDName(t.sid), tenant: t.tenant, old: true})
	}
	if t.subject != "" {
		alone := t.sid != ""
		all = append(all,
			lookup{name: c.named("sub", t.tenant, t.subject), tenant: t.tenant, onlyWithoutSID: alone},
			lookup{name: oldSubjectName(t.tenant, t.subject), tenant: t.tenant, onlyWithoutSID: alone, old: true})
	}
	return all
}

// endNamed ends the sessions that a logout token names, and returns their number. noted is the revision of
// the note of the logout in the index.
func (s *store) endNamed(ctx context.Context, t logoutToken, noted uint64) (ended int, err error) {
	for _, by := range s.cfg.lookups(t) {
		n, err := s.endAll(ctx, by, noted)
		ended += n
		if err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// errBehind: a new leader, for instance, has not applied all that the one before acknowledged.
var errBehind = errors.New("bucket: the leader does not have a write yet that was acknowledged")

// endAll ends the sessions under an index name, and returns their number. The leader of the index lists the
// names: jetstream.KeyValue lists keys with a consumer, which may be on a replica that lags behind.
func (s *store) endAll(ctx context.Context, by lookup, noted uint64) (int, error) {
	stream, err := s.js.Stream(ctx, streamOf(s.index.Bucket()))
	if err != nil {
		return 0, plain(err)
	}
	prefix := subjectsOf(stream)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+by.name+".*"))
	if err != nil {
		return 0, plain(err)
	}
	if info.State.LastSeq < noted {
		return 0, errBehind
	}
	leader := s.cfg.Leader(s.js.Conn(), streamOf(s.index.Bucket()))
	var ended atomic.Int64
	var group errgroup.Group
	group.SetLimit(endsAtOnce)
	for subject := range info.State.Subjects {
		group.Go(func() error {
			if removed, err := isRemoved(ctx, leader, subject); removed || err != nil {
				return err
			}
			did, err := s.endFound(ctx, strings.TrimPrefix(subject, prefix), by)
			if did {
				ended.Add(1)
			}
			return err
		})
	}
	err = group.Wait()
	return int(ended.Load()), err
}

// isRemoved reports whether an entry of the index has been removed. Its session has ended then.
func isRemoved(ctx context.Context, index *kv.Leader, subject string) (bool, error) {
	m, err := index.Last(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil
	}
	if err != nil {
		return false, plain(err)
	}
	return isDeletion(m.Header), nil
}

// endFound ends the session of an index entry if the logout token means it. If the session cannot
// be decrypted, because its key was removed, the index name decides.
func (s *store) endFound(ctx context.Context, found string, by lookup) (did bool, err error) {
	key := found[strings.LastIndexByte(found, '.')+1:]
	e, _, err := s.get(ctx, key)
	unread := errors.Is(err, errGone) || errors.Is(err, sealed.ErrNotOpened)
	switch {
	case errors.Is(err, errForeign), unread && by.old:
		return false, nil // an older name may stand for another provider's person
	case err == nil && (e.Tenant != by.tenant || by.onlyWithoutSID && e.SID != ""):
		return false, nil // another session of the provider
	case err != nil && !unread:
		return false, err
	}
	lives := !errors.Is(err, errGone)
	if err := s.end(ctx, key); err != nil {
		return false, err
	}
	return lives, plain(s.index.Purge(ctx, found))
}

// doneName returns the index name of a logout token that was carried out. It includes the provider,
// because ids are unique for each provider only.
func (s *store) doneName(t logoutToken) string {
	return "jti." + hashed(strings.Join([]string{s.cfg.Issuer, s.cfg.ClientID, t.tenant, t.id}, "\n"))
}

// carriedOut reports whether a logout token has been carried out. The replica of the index that is asked may
// be behind, so its leader is asked too.
func (s *store) carriedOut(ctx context.Context, t logoutToken) (bool, error) {
	_, err := s.index.Get(ctx, s.doneName(t))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		isNew, err := s.hasNoNote(ctx, s.doneName(t))
		return !isNew && err == nil, plain(err)
	}
	return err == nil, plain(err)
}

func (s *store) markCarriedOut(ctx context.Context, t logoutToken) error {
	_, err := s.index.Put(ctx, s.doneName(t), nil)
	return plain(err)
}
