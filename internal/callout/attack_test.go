package callout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/session"
)

// metric returns the value of a metric, as text.
func (s *serving) metric(name string) string {
	var out bytes.Buffer
	s.set.WritePrometheus(&out)
	for line := range strings.Lines(out.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// A request without a user key, or with something else in its place, does not end the process. Whoever may publish in the
// account of callouts can send one.
func TestRequestsForNoUser(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	sent := 0
	for _, user := range []string{"", "U", "nobody", public(s.cfg.keys.issuer), strings.Repeat("U", 100_000)} {
		for _, token := range []string{"", "t", mustProbe(t, s.cfg.keys.issuer)} {
			m, _ := calloutOf(t, s.cfg.keys, func(c *jwt.AuthorizationRequestClaims) {
				c.UserNkey, c.ConnectOptions.Token = user, token
			})
			if err := s.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	eventually(t, "a refusal of each", func() bool { return s.metric(`stamp_callout_answers_total{result="malformed"}`) == fmt.Sprint(sent) })
	if got := s.metric("stamp_callout_panics_total"); got != "0" {
		t.Errorf("panics are counted as %s, want 0", got)
	}
}

func mustProbe(t *testing.T, issuer nkeys.KeyPair) string {
	t.Helper()
	token, err := probeToken(issuer, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// broken is a source that panics where a test says so.
type broken struct {
	session.Settings
	accepts, find bool
}

const secret = "s3cret-of-a-panic"

func (b *broken) Open(context.Context, session.Env) (session.Source, error) { return b, nil }

func (b *broken) Accepts(*session.Request) (string, bool) {
	if b.accepts {
		panic(secret)
	}
	return "key", true
}

func (b *broken) Find(context.Context, *session.Request) (*session.Session, error) {
	if b.find {
		panic(secret)
	}
	return nil, session.ErrUnknown
}

func (b *broken) Close() error { return nil }

// If the handling of a request panics, the request is refused. The log has the place of the panic and not its text, and the
// panic is not counted as a malformed request.
func TestPanicsAreCounted(t *testing.T) {
	for name, b := range map[string]*broken{"form of the credential": {accepts: true}, "look-up": {find: true}} {
		t.Run(name, func(t *testing.T) {
			cfg := parse(t, anonymousConf)
			b.Settings = session.Defaults()
			b.Name = "broken"
			cfg.sources = []source{{Opener: b}}
			s := serve(t, cfg)
			m, _ := calloutOf(t, cfg.keys)
			if err := s.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the count", func() bool { return s.metric("stamp_callout_panics_total") == "1" })
			if got := s.metric(`stamp_callout_answers_total{result="malformed"}`); got != "0" {
				t.Errorf("%s panics are counted as malformed requests, want 0", got)
			}
			eventually(t, "the place", func() bool {
				return strings.Contains(s.log.String(), "level=ERROR") && strings.Contains(s.log.String(), "attack_test.go:")
			})
			if strings.Contains(s.log.String(), secret) {
				t.Error("the log shows the text of the panic")
			}
		})
	}
}

// A flood of messages that are not a server's requests is refused, counted, and logged only a few times.
func TestFloodOfMalformedRequests(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	good, _ := calloutOf(t, s.cfg.keys)
	other, _ := calloutOf(t, newKeys(t))
	plain, _ := calloutOf(t, &keys{issuer: s.cfg.keys.issuer})
	audience, _ := calloutOf(t, s.cfg.keys, func(c *jwt.AuthorizationRequestClaims) { c.Audience = "other" })
	old, _ := calloutOf(t, s.cfg.keys, func(c *jwt.AuthorizationRequestClaims) { c.Expires = time.Now().Add(-time.Hour).Unix() })
	huge := &nats.Msg{Subject: Subject, Header: good.Header, Data: make([]byte, 900_000)}
	cut := &nats.Msg{Subject: Subject, Header: good.Header, Data: good.Data[:len(good.Data)/2]}
	kinds := []*nats.Msg{other, plain, audience, old, cut, {Subject: Subject}, {Subject: Subject, Data: []byte("x"), Header: nats.Header{xkeyHeader: {"x"}}}}
	const rounds = 50
	for range rounds {
		for _, m := range kinds {
			if err := s.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.nc.PublishMsg(huge); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a refusal of each", func() bool {
		return s.metric(`stamp_callout_answers_total{result="malformed"}`) == fmt.Sprint(rounds*len(kinds)+1)
	})
	if lines := strings.Count(s.log.String(), "\n"); lines > 10*len(kinds) {
		t.Errorf("%d lines in the log for %d requests", lines, rounds*len(kinds))
	}
}

// Requests that wait are bounded in bytes, not only in number.
func TestWaitingBytesAreBounded(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	served := s.served[0]
	huge := &nats.Msg{Subject: Subject, Data: make([]byte, maxRequest+1)}
	served.arrive(huge)
	if got := s.metric(`stamp_callout_answers_total{result="malformed"}`); got != "1" {
		t.Errorf("after a request of %d bytes, malformed requests are counted as %s", len(huge.Data), got)
	}
	served.waiting.Store(maxWaiting)
	m, _ := calloutOf(t, s.cfg.keys)
	served.arrive(m)
	if got := s.metric(`stamp_callout_answers_total{result="overloaded"}`); got != "1" {
		t.Errorf("with more than %d bytes waiting, overloaded requests are counted as %s", maxWaiting, got)
	}
	served.waiting.Store(0)
}

// A request that has been answered does not count as waiting.
func TestWaitingBytesAreGivenBack(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	m, xkey := calloutOf(t, s.cfg.keys)
	for range 20 {
		s.ask(t, m, xkey)
	}
	eventually(t, "nothing waits", func() bool { return s.served[0].waiting.Load() == 0 })
}

// A readiness check ends with its context, and does not keep other checks waiting.
func TestReadyEndsWithItsContext(t *testing.T) {
	h := &Handler{cfg: parse(t, anonymousConf)}
	if err := h.CheckReady(t.Context()); !errors.Is(err, errNotServing) {
		t.Errorf("expected errNotServing before the handler serves; found %v", err)
	}
	asked, hang := make(chan string, 10), make(chan struct{})
	h.UseProbe("CALLOUT", func(token string) (*nats.Conn, error) {
		asked <- token
		<-hang
		return nil, errors.New("hung")
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- h.CheckReady(ctx) }()
	<-asked
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("expected the probe to end with its context; found %v", err)
	}
	// A second check comes meanwhile: it waits for the same probe, and for its own context.
	other, end := context.WithCancel(t.Context())
	end()
	if err := h.CheckReady(other); !errors.Is(err, context.Canceled) {
		t.Errorf("expected the second caller to end with its own context; found error %v", err)
	}
	close(hang)
	if err := h.CheckReady(t.Context()); err == nil || !strings.Contains(err.Error(), "hung") {
		t.Errorf("expected the reason of the probe that hung; found %v", err)
	}
	if len(asked) != 0 {
		t.Error("the probe was made twice")
	}
}
