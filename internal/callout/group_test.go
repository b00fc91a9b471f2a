package callout

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/session"
)

// store is a source whose bucket the test can take away.
type store struct {
	session.Settings
	gone atomic.Bool
}

var errGone = errors.New("no bucket")

func (s *store) Open(context.Context, session.Env) (session.Source, error) { return s, nil }
func (s *store) Accepts(*session.Request) (string, bool)                   { return "", true }
func (s *store) Close() error                                              { return nil }

func (s *store) LookupError() error {
	if s.gone.Load() {
		return errGone
	}
	return nil
}

func (s *store) Find(context.Context, *session.Request) (*session.Session, error) {
	if s.gone.Load() {
		return nil, errGone
	}
	return &session.Session{Data: map[string]any{"user": "u"}}, nil
}

// group is a set of handlers with the same keys on one server. Each has a store of its own.
type group struct {
	server *natsserver.Server
	base   *Config
}

func newGroup(t *testing.T, o ...func(*natsserver.Options)) *group {
	t.Helper()
	options := &natsserver.Options{DontListen: true, NoSigs: true}
	for _, edit := range o {
		edit(options)
	}
	s, err := natsserver.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	return &group{s, parse(t, anonymousConf)}
}

func (g *group) connect(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(g.server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func (g *group) add(t *testing.T, name string) (*serving, *store) {
	t.Helper()
	return g.addWith(t, name, &store{Settings: session.Defaults()})
}

func (g *group) addWith(t *testing.T, name string, st *store, edits ...func(*Options)) (*serving, *store) {
	t.Helper()
	cfg := *g.base
	st.Name = "store"
	cfg.sources, cfg.QueueGroup = []source{{Opener: st}}, name
	log, set := &lockedLog{}, metrics.NewSet()
	o := Options{Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: set}
	for _, edit := range edits {
		edit(&o)
	}
	h, err := New(t.Context(), &cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(t.Context(), g.connect(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Drain(ctx); err != nil {
			t.Error(err)
		}
		h.Close()
	})
	return &serving{h, g.connect(t), log, set}, st
}

// refusal returns the reason of a refusal, or an empty text.
func (s *serving) refusal(t *testing.T) string {
	t.Helper()
	m, xkey := calloutOf(t, s.cfg.keys)
	return s.ask(t, m, xkey).Error
}

// A handler that cannot judge leaves the callouts to a handler that can, is not ready meanwhile, and comes back. If no handler
// can judge, connections are refused at once, with the reason.
func TestHandlersThatCannotJudge(t *testing.T) {
	g := newGroup(t)
	one, first := g.add(t, "g")
	two, second := g.add(t, "g")
	other, _ := g.add(t, "site") // of another group, and so no help: it is drained first
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := other.Drain(ctx); err != nil {
		t.Fatal(err)
	}

	first.gone.Store(true)
	eventually(t, "the first leaves", func() bool { return strings.Contains(one.log.String(), "leaves the callouts to the other handlers") })
	one.UseProbe("CALLOUT", nil)
	if err := one.CheckReady(t.Context()); !errors.Is(err, errGone) {
		t.Errorf("expected the first handler not to be ready, with the store's error; found %v", err)
	}
	for range 20 {
		if got := two.refusal(t); got != "" {
			t.Fatalf("the handler that can judge refused a connection: %s", got)
		}
	}

	second.gone.Store(true)
	eventually(t, "both stay", func() bool {
		return strings.Contains(one.log.String(), "no other handler of the queue group can") && strings.Contains(two.log.String(), "no other handler of the queue group can")
	})
	for range 20 {
		if got := one.refusal(t); !strings.Contains(got, errGone.Error()) {
			t.Fatalf("expected a refusal with the reason; found %q", got)
		}
	}

	first.gone.Store(false)
	eventually(t, "the first is back, and the second leaves", func() bool {
		return strings.Contains(one.log.String(), "can judge again") && strings.Contains(two.log.String(), "leaves the callouts to the other handlers")
	})
	for range 20 {
		if got := one.refusal(t); got != "" {
			t.Fatalf("the handler that can judge again refused a connection: %s", got)
		}
	}
}

// If a handler that cannot judge yet replaces a handler that can, no callout is lost.
func TestATakeOverByAHandlerThatCannotJudge(t *testing.T) {
	g := newGroup(t)
	one, _ := g.add(t, "g")
	if got := one.refusal(t); got != "" {
		t.Fatalf("a connection was refused: %s", got)
	}
	st := &store{Settings: session.Defaults()}
	st.gone.Store(true)
	two, _ := g.addWith(t, "g", st, func(o *Options) { o.Replaces = one.Handler })
	one.StopReceiving()
	for range 3 * certainly {
		if got := two.refusal(t); got != "" && !strings.Contains(got, errGone.Error()) {
			t.Fatalf("expected a grant or a refusal with the reason; found %q", got)
		}
		time.Sleep(lookAtSelf / 2) // its looks are in between
	}
}

// If a handler that cannot judge yet replaces a handler that can, it leaves the callouts to a third handler that can.
func TestATakeOverBesideAHandlerThatCanJudge(t *testing.T) {
	g := newGroup(t)
	peer, _ := g.add(t, "g")
	one, _ := g.add(t, "g")
	st := &store{Settings: session.Defaults()}
	st.gone.Store(true)
	two, _ := g.addWith(t, "g", st, func(o *Options) { o.Replaces = one.Handler })
	one.StopReceiving()
	if err := one.served[0].nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if got := peer.refusal(t); got != "" {
			t.Fatalf("a connection was refused, though one handler can judge: %s", got)
		}
	}
	if got := two.metric("stamp_callout_requests_total"); got != "0" {
		t.Errorf("the handler that cannot judge was asked %s times, want 0", got)
	}
	st.gone.Store(false)
	eventually(t, "it joins", func() bool {
		peer.refusal(t)
		return two.metric("stamp_callout_requests_total") != "0"
	})
}

// A handler that is not connected, and has answered all callouts, ends at once.
func TestDrainWithoutAConnection(t *testing.T) {
	g := newGroup(t)
	one, _ := g.add(t, "g")
	if got := one.refusal(t); got != "" {
		t.Fatalf("a connection was refused: %s", got)
	}
	// The answer may be here before its worker has looked whether it was sent.
	eventually(t, "the handler knows that it has answered", func() bool { return !one.owes() })
	s := one.served[0]
	disconnected := s.nc.StatusChanged(nats.RECONNECTING)
	g.server.Shutdown()
	<-disconnected
	if one.owes() {
		t.Error("the handler waits for an answer, though it has answered all callouts")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // nats.go's own drain waits for 10
	defer cancel()
	if err := one.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// A handler that starts beside a handler that can judge takes no callouts until it can judge too. That holds too while it waits
// for its server to find its peers.
func TestAStartBesideAHandlerThatCanJudge(t *testing.T) {
	for name, gathering := range map[string]time.Duration{"at once": 0, "before the peers are there": time.Hour} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			one, _ := g.add(t, "g")
			st := &store{Settings: session.Defaults()}
			st.gone.Store(true)
			two, _ := g.addWith(t, "g", st, func(o *Options) { o.Gathering = gathering })
			for range 50 {
				if got := one.refusal(t); got != "" {
					t.Fatalf("a connection was refused, though one handler can judge: %s", got)
				}
			}
			if got := two.metric("stamp_callout_requests_total"); got != "0" {
				t.Errorf("the handler that cannot judge was asked %s times, want 0", got)
			}
			st.gone.Store(false)
			eventually(t, "it joins", func() bool {
				one.refusal(t)
				return two.metric("stamp_callout_requests_total") != "0"
			})
		})
	}
}

// If no handler can judge, a handler that starts waits for its peers, and then takes callouts and refuses them with the reason.
func TestAStartWhereNobodyCanJudge(t *testing.T) {
	g := newGroup(t)
	st := &store{Settings: session.Defaults()}
	st.gone.Store(true)
	s, _ := g.addWith(t, "g", st, func(o *Options) { o.Gathering = 2 * gather })
	eventually(t, "it stays", func() bool { return strings.Contains(s.log.String(), "no other handler of the queue group can") })
	if got := s.refusal(t); !strings.Contains(got, errGone.Error()) {
		t.Errorf("expected a refusal with the reason; found %q", got)
	}
	two, _ := g.addWith(t, "h", st)
	if got := two.served[0].sub; got == nil {
		t.Error("a handler without peers waits, though it has nobody to wait for")
	}
}

// A handler with only_from answers callouts of the listed clusters and servers, and leaves the others to another group.
func TestOnlyFrom(t *testing.T) {
	for name, want := range map[string]bool{"s": true, "c": true, "other": false} {
		g := newGroup(t)
		g.base.OnlyFrom = []string{name}
		s, _ := g.add(t, "site")
		m, _ := calloutOf(t, s.cfg.keys, func(c *jwt.AuthorizationRequestClaims) { c.Server.Cluster = "c" })
		if err := s.nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		result := "ignored"
		if want {
			result = "granted"
		}
		eventually(t, result, func() bool { return s.metric(`stamp_callout_answers_total{result="`+result+`"}`) == "1" })
	}
}

// If the server's max_payload has no room for an answer, the handler sends a refusal instead of nothing.
func TestAnswersAboveMaxPayload(t *testing.T) {
	g := newGroup(t, func(o *natsserver.Options) { o.MaxPayload = 1300 })
	s, _ := g.add(t, "g")
	s.cfg.keys.xkey = nil
	m, xkey := calloutOf(t, s.cfg.keys)
	if c := s.ask(t, m, xkey); c.Error != errLargeAnswer.Error() || c.Jwt != "" {
		t.Errorf("expected the refusal of a too large answer; found %q", c.Error)
	}
	eventually(t, "the count", func() bool { return s.metric(`stamp_callout_answers_total{result="failed"}`) == "1" })
}

// Each callout goes to both of two queue groups, as with any service.
func TestQueueGroups(t *testing.T) {
	g := newGroup(t)
	one, _ := g.add(t, "hub")
	two, _ := g.add(t, "site")
	one.refusal(t)
	for _, s := range []*serving{one, two} {
		eventually(t, "it is asked", func() bool { return s.metric("stamp_callout_requests_total") == "1" })
	}
	for name, want := range map[string]bool{"stamp-callout": true, "a": true, "": false, "a b": false, "a.b": false, "*": false, "ü": false, strings.Repeat("a", 65): false} {
		if isGroup(name) != want {
			t.Errorf("isGroup(%q) = %t, want %t", name, !want, want)
		}
	}
}
