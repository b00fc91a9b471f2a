package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/callout/session/internal/openid"
)

// A logout token may come while a login is under way, whose session it cannot find yet. So it is noted what was ended,
// and a login looks for that when its session is stored: one of both sees the other.

// ended is a logout of the provider.
type ended struct {
	issued int64 // by the provider's clock, in Unix seconds
	noted  int64 // by that of a handler, in Unix milliseconds
}

// endsNames are what is ended by a logout token: the provider's session, and the subject's sessions, of which those with a
// sid stay where the token has one.
func (c *Config) endsNames(t logoutToken) (names []string) {
	if t.sid != "" {
		names = append(names, c.named("end.sid", t.tenant, t.sid))
	}
	switch {
	case t.subject == "":
	case t.sid != "":
		names = append(names, c.named("end.alone", t.tenant, t.subject))
	default:
		names = append(names, c.named("end.sub", t.tenant, t.subject))
	}
	return names
}

// endedBy are the names of logouts that a session ends by.
func (c *Config) endedBy(e *entry) []string {
	names := []string{c.named("end.sub", e.Tenant, e.Subject)}
	if e.SID != "" {
		return append(names, c.named("end.sid", e.Tenant, e.SID))
	}
	return append(names, c.named("end.alone", e.Tenant, e.Subject))
}

// noteEnd notes what a logout token ends.
func (s *store) noteEnd(ctx context.Context, t logoutToken) error {
	text := fmt.Appendf(nil, "%d %d", t.issued.Unix(), time.Now().UnixMilli())
	for _, name := range s.cfg.endsNames(t) {
		if _, err := s.index.Put(ctx, name, text); err != nil {
			return plain(err)
		}
	}
	return nil
}

// hasEnded tells whether the provider has ended a session while its login was under way, which began then.
func (s *store) hasEnded(ctx context.Context, e *entry, began time.Time) (bool, error) {
	for _, name := range s.cfg.endedBy(e) {
		found, err := s.index.Get(ctx, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return false, plain(err)
		}
		var last ended
		if _, err := fmt.Sscanf(string(found.Value()), "%d %d", &last.issued, &last.noted); err != nil {
			continue // nothing of ours
		}
		if last.ends(e, began) {
			return true, nil
		}
	}
	return false, nil
}

// ends tells whether the logout came after the ID token of a login that began then. The provider's clock tells it in
// seconds, and so within one of them the handlers' clocks do.
func (l ended) ends(e *entry, began time.Time) bool {
	issued, ok := openid.Date(e.Claims, "iat")
	if !ok || issued.IsZero() {
		issued = began
	}
	if issued.Unix() != l.issued {
		return issued.Unix() < l.issued
	}
	return l.noted >= began.UnixMilli()
}
