package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session/internal/openid"
)

// A logout token may come while a login is under way, when its session is not stored yet. So the
// logout is noted in the index, and a login looks for such notes after it has stored its session.
// One of the two sees the other.

// ended is the note of a logout by the provider.
type ended struct {
	issued int64 // by the provider's clock, Unix seconds
	noted  int64 // by a handler's clock, Unix milliseconds
}

// endsNames returns the index names for what a logout token ends: the provider's session, and the
// subject's sessions. If the token has a sid, the subject's sessions with a sid of their own stay.
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

// endedBy returns the index names of the logouts that end a session.
func (c *Config) endedBy(e *entry) []string {
	names := []string{c.named("end.sub", e.Tenant, e.Subject)}
	if e.SID != "" {
		return append(names, c.named("end.sid", e.Tenant, e.SID))
	}
	return append(names, c.named("end.alone", e.Tenant, e.Subject))
}

// noteEnd notes what a logout token ends. It returns the revision of the last note.
func (s *store) noteEnd(ctx context.Context, t logoutToken) (revision uint64, err error) {
	text := fmt.Appendf(nil, "%d %d", t.issued.Unix(), time.Now().UnixMilli())
	for _, name := range s.cfg.endsNames(t) {
		if revision, err = s.index.Put(ctx, name, text); err != nil {
			return 0, plain(err)
		}
	}
	return revision, nil
}

// hasEnded reports whether the provider ended a session while its login was under way. began is
// when the login asked the provider for tokens.
func (s *store) hasEnded(ctx context.Context, e *entry, began time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	for _, name := range s.cfg.endedBy(e) {
		did, err := s.noteEnds(ctx, name, e, began)
		if did || err != nil {
			return did, err
		}
	}
	return false, nil
}

// notePause is the pause before a note is read again that the replica of the index does not have yet.
const notePause = 50 * time.Millisecond

// noteEnds reports whether the note of a name, if there is one, ends a session. The replica of the index
// that is asked may be behind, so only what its leader confirms says that the session lives.
func (s *store) noteEnds(ctx context.Context, name string, e *entry, began time.Time) (bool, error) {
	for {
		found, err := s.index.Get(ctx, name)
		isMissing := errors.Is(err, jetstream.ErrKeyNotFound)
		if err != nil && !isMissing {
			return false, plain(err)
		}
		if !isMissing && readEnded(found.Value()).ends(e, began) {
			return true, nil
		}
		latest := false
		if isMissing {
			latest, err = s.hasNoNote(ctx, name)
		} else {
			latest, err = s.isLatest(ctx, name, found)
		}
		if latest || err != nil {
			return false, plain(err)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(notePause):
		}
	}
}

// hasNoNote asks the leader of the index whether there is no entry of a name.
func (s *store) hasNoNote(ctx context.Context, name string) (bool, error) {
	stream, err := s.js.Stream(ctx, streamOf(s.index.Bucket()))
	if err != nil {
		return false, err
	}
	subject := subjectsOf(stream) + name
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return false, err
	}
	return info.State.Subjects[subject] == 0, nil
}

// isLatest reports whether an entry is the latest one of its name. It writes the same once more, which
// is refused otherwise.
func (s *store) isLatest(ctx context.Context, name string, found jetstream.KeyValueEntry) (bool, error) {
	_, err := s.index.Update(ctx, name, found.Value(), found.Revision())
	if isConflict(err) {
		return false, nil
	}
	return err == nil, err
}

// readEnded returns what a note says. One that was not written by us ends nothing.
func readEnded(text []byte) (e ended) {
	if _, err := fmt.Sscanf(string(text), "%d %d", &e.issued, &e.noted); err != nil {
		return ended{}
	}
	return e
}

// ends reports whether the logout came after the ID token of a login that began at a time. The
// provider's clock decides, but it counts in seconds; within the same second, the handlers' clocks
// decide.
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
