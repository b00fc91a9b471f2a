package callout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// addKeys adds a handler with keys of its own.
func (g *group) addKeys(t *testing.T, k *keys) *serving {
	t.Helper()
	base := *g.base
	base.keys = k
	one := group{g.server, &base}
	s, _ := one.add(t, "g")
	return s
}

// answered reports whether a callout of a server with the keys k is granted within 200 ms. Use it for a callout that is tried
// again.
func (s *serving) answered(t *testing.T, k *keys) bool {
	t.Helper()
	return s.answeredIn(t, k, 200*time.Millisecond)
}

// answeredIn reports whether a callout of a server with the keys k is granted in that time.
func (s *serving) answeredIn(t *testing.T, k *keys, patience time.Duration) bool {
	t.Helper()
	m, xkey := calloutOf(t, k)
	answer, err := s.nc.RequestMsg(m, patience)
	if errors.Is(err, nats.ErrTimeout) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := xkey.Open(answer.Data, public(k.xkey))
	if err != nil {
		t.Fatal(err)
	}
	c, err := jwt.DecodeAuthorizationResponseClaims(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return c.Error == ""
}

// If a handler's keys are not those of the server, it leaves the callouts to a handler whose keys are. Meanwhile it is not
// ready. It comes back when the server expects its keys.
func TestHandlersWhoseAnswersAreNotTaken(t *testing.T) {
	for name, edit := range map[string]func(*testing.T, *keys){
		"xkey":   func(t *testing.T, k *keys) { k.xkey = newKeys(t).xkey },
		"issuer": func(t *testing.T, k *keys) { k.issuer = newKeys(t).issuer },
		"both":   func(t *testing.T, k *keys) { *k = *newKeys(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t)
			right := *g.base.keys
			other := right
			edit(t, &other)
			two := g.addKeys(t, &other)
			two.UseProbe("CALLOUT", two.asAServer(t, &right))
			one, _ := g.add(t, "g")
			eventually(t, "it leaves", func() bool {
				one.answered(t, &right)
				return strings.Contains(two.log.String(), "leaves the callouts to the other handlers")
			})
			for range 30 {
				if !one.answeredIn(t, &right, 10*time.Second) {
					t.Fatal("a connection was not granted by the handler with the right keys")
				}
			}
			if err := two.CheckReady(t.Context()); err == nil {
				t.Error("the handler with other keys says that it is ready")
			}
			for range 3 * certainly {
				time.Sleep(lookAtSelf) // its looks, and none of them brings it back
			}
			if n := strings.Count(two.log.String(), "leaves the callouts"); n != 1 || strings.Contains(two.log.String(), "can judge again") {
				t.Errorf("the handler with other keys must leave once and stay away; its log: %s", two.log.String())
			}
			two.UseProbe("CALLOUT", two.asAServer(t, &other))
			eventually(t, "it is back", func() bool { return strings.Contains(two.log.String(), "can judge again") })
			eventually(t, "it answers", func() bool { return one.answered(t, &other) })
		})
	}
}

// asAServer returns a function that answers a probe as a server with the keys k does.
func (s *serving) asAServer(t *testing.T, k *keys) func(string) (*nats.Conn, error) {
	return func(token string) (*nats.Conn, error) {
		m, _ := calloutOf(t, k, func(c *jwt.AuthorizationRequestClaims) { c.ConnectOptions = jwt.ConnectOptions{Token: token} })
		if _, err := s.nc.RequestMsg(m, 100*time.Millisecond); err != nil {
			return nil, err
		}
		return nil, nats.ErrAuthorization
	}
}

// A handler without peers does not leave, so that connections are refused with the reason.
func TestAHandlerAloneWhoseAnswersAreNotTaken(t *testing.T) {
	g := newGroup(t)
	right := *g.base.keys
	other := right
	other.issuer = newKey(t, nkeys.CreateAccount)
	s := g.addKeys(t, &other)
	for range timesInTurn {
		s.answered(t, &right)
	}
	eventually(t, "it stays", func() bool { return strings.Contains(s.log.String(), "no other handler of the queue group can") })
	m, xkey := calloutOf(t, &right)
	if c := s.ask(t, m, xkey); !strings.Contains(c.Error, "the server takes answers of") {
		t.Errorf("expected a refusal that names whose answers the server takes; found %q", c.Error)
	}
}

// If a single server has other keys than the rest, a handler that serves the rest does not leave, and does not leave and come
// back in turns.
func TestServersWithDifferentKeys(t *testing.T) {
	k, now, leaves := &acceptance{}, time.Now(), 0
	away := false
	for range 6 * 60 { // six hours of a cluster where little happens
		for range 3 {
			k.request(errDecrypt, now)
			now = now.Add(30 * time.Second)
		}
		if k.fault() != nil && !away {
			leaves++
		}
		k.request(nil, now)
		away = k.fault() != nil
	}
	if leaves > 8 {
		t.Errorf("the handler left %d times, want 8 or less", leaves)
	}
	for range 10 {
		k.request(errDecrypt, now.Add(settled/2))
	}
	if k.fault() != nil {
		t.Error("the handler leaves, though it serves a server")
	}
}

// If a server refuses a handler's answers, the handler finds that out by its own probes. Answers of another handler, and
// answers that came too late, say nothing.
func TestOwnProbes(t *testing.T) {
	g := newGroup(t)
	s, _ := g.add(t, "g")
	var err error
	answers, wait := true, time.Duration(0)
	s.UseProbe("CALLOUT", func(token string) (*nats.Conn, error) {
		if answers {
			m, _ := calloutOf(t, s.cfg.keys, func(c *jwt.AuthorizationRequestClaims) {
				c.ConnectOptions = jwt.ConnectOptions{Token: token}
				c.Expires = time.Now().Add(time.Second).Unix()
			})
			if _, err := s.nc.RequestMsg(m, 10*time.Second); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(wait)
		return nil, err
	})
	p := s.prober.Load()
	for _, tt := range []struct {
		name    string
		answers bool
		wait    time.Duration
		err     error
		want    bool
	}{
		{"answered by another one", false, 0, nats.ErrAuthorization, false},
		{"too late", true, time.Second, nats.ErrAuthorization, false},
		{"no server", true, 0, nats.ErrNoServers, false},
		{"refused", true, 0, nats.ErrAuthorization, true},
		{"answered by another one later", false, 0, nats.ErrAuthorization, true},
	} {
		answers, wait, err = tt.answers, tt.wait, tt.err
		for range timesInTurn {
			_ = p.ask(s.Handler, "")
		}
		if got := s.accepted.fault() != nil; got != tt.want {
			t.Errorf("%s: it knows of a fault: %t", tt.name, got)
		}
	}
	s.accepted.probe(nil)
	if s.accepted.fault() != nil {
		t.Error("the handler does not come back after its probe was answered")
	}
}
