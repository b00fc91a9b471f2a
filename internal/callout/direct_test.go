package callout

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/session"
)

// give offers a handler a callout, as its own server does. It returns the reason of a refusal, or an empty text.
func (s *serving) give(t *testing.T) (taken bool, refusal string) {
	t.Helper()
	inbox, err := s.nc.SubscribeSync(s.nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	defer inbox.Unsubscribe()
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	m, xkey := calloutOf(t, s.cfg.keys)
	if !s.AcceptRequest("s", "c", inbox.Subject, m.Header.Get(xkeyHeader), m.Data) {
		return false, ""
	}
	answer, err := inbox.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	data, err := xkey.Open(answer.Data, public(s.cfg.keys.xkey))
	if err != nil {
		t.Fatal(err)
	}
	c, err := jwt.DecodeAuthorizationResponseClaims(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return true, c.Error
}

// The handler inside a server takes the server's callouts while it can judge them. If no handler can, it takes them and
// refuses. While another handler can judge, and at its own end, it takes none.
func TestTake(t *testing.T) {
	g := newGroup(t)
	one, first := g.add(t, "g")
	two, second := g.add(t, "g")
	for _, s := range []*serving{one, two} {
		if taken, refusal := s.give(t); !taken || refusal != "" {
			t.Fatalf("expected the callout to be taken and granted; taken: %t, refusal %q", taken, refusal)
		}
	}
	first.gone.Store(true)
	if taken, _ := one.give(t); taken {
		t.Error("the handler takes a callout that it cannot judge, though another handler can")
	}
	eventually(t, "it leaves", func() bool { return strings.Contains(one.log.String(), "leaves the callouts") })
	if taken, _ := one.give(t); taken {
		t.Error("the handler takes a callout after it has left")
	}
	second.gone.Store(true)
	for _, s := range []*serving{one, two} {
		eventually(t, "it stays", func() bool {
			taken, refusal := s.give(t)
			return taken && strings.Contains(refusal, errGone.Error())
		})
	}
	first.gone.Store(false)
	eventually(t, "it is back", func() bool {
		taken, refusal := one.give(t)
		return taken && refusal == ""
	})
	one.StopReceiving()
	if taken, _ := one.give(t); taken {
		t.Error("the handler takes a callout after its end")
	}
}

// While a handler waits for the others, it holds the callouts of its server. They are answered as soon as it can judge or another
// handler can, when it has waited long enough, and when it ends.
func TestTakeWhileGathering(t *testing.T) {
	gone := func() *store {
		st := &store{Settings: session.Defaults()}
		st.gone.Store(true)
		return st
	}
	for name, c := range map[string]struct {
		then func(s *serving, own, peers *store)
		want string // in the refusal
	}{
		"it can judge":          {func(_ *serving, own, _ *store) { own.gone.Store(false) }, ""},
		"a peer can judge":      {func(_ *serving, _, peers *store) { peers.gone.Store(false) }, errGone.Error()},
		"it ends":               {func(s *serving, _, _ *store) { s.StopReceiving() }, errGone.Error()},
		"it has waited in vain": {nil, errGone.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			peer, peers := g.addWith(t, "g", gone())
			eventually(t, "the peer cannot judge", func() bool { return strings.Contains(peer.log.String(), "no other handler of the queue group can") })
			gathering := time.Hour
			if c.then == nil {
				gathering = 4 * gather
			}
			s, own := g.addWith(t, "g", gone(), func(o *Options) { o.Gathering = gathering })
			var taken bool
			var refusal string
			var asking sync.WaitGroup
			asking.Go(func() { taken, refusal = s.give(t) })
			eventually(t, "the callout is taken", func() bool { return s.metric("stamp_callout_requests_total") == "1" })
			if c.then != nil {
				c.then(s, own, peers)
			}
			asking.Wait()
			if !taken || (refusal == "") != (c.want == "") || !strings.Contains(refusal, c.want) {
				t.Errorf("taken: %t, refusal %q; want that it is taken, and the refusal %q", taken, refusal, c.want)
			}
		})
	}
}

// A handler leaves a callout to other handlers if its queue is full, if it is not connected, or if the callout is from a server
// that only_from does not list.
func TestTakeWhereItIsNotFor(t *testing.T) {
	g := newGroup(t)
	g.base.OnlyFrom = []string{"s"}
	s, _ := g.add(t, "g")
	m, _ := calloutOf(t, s.cfg.keys)
	offer := func(server string) bool {
		return s.AcceptRequest(server, "c", "inbox", m.Header.Get(xkeyHeader), m.Data)
	}
	if offer("other") || !offer("s") {
		t.Error("only_from is not followed")
	}
	own := s.served[0]
	own.waiting.Add(maxWaiting)
	if offer("s") {
		t.Error("the handler takes a callout though its queue is full")
	}
	own.waiting.Add(-maxWaiting)
	if s.AcceptRequest("s", "", "inbox", "", make([]byte, maxRequest+1)) {
		t.Error("the handler takes a request that is too large")
	}
	own.nc.Close()
	if offer("s") {
		t.Error("the handler takes a callout without a connection")
	}
}

// A callout that is taken while a handler ends is answered.
func TestTakeDuringTheEnd(t *testing.T) {
	g := newGroup(t)
	s, _ := g.add(t, "g")
	answers := make(chan struct{}, 1000)
	inbox := s.nc.NewInbox()
	if _, err := s.nc.Subscribe(inbox, func(*nats.Msg) { answers <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	m, _ := calloutOf(t, s.cfg.keys)
	var servers sync.WaitGroup
	taken := make(chan int, 4)
	for range cap(taken) {
		servers.Go(func() {
			n := 0
			for n < 200 && s.AcceptRequest("s", "", inbox, m.Header.Get(xkeyHeader), m.Data) {
				n++
			}
			taken <- n
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	servers.Wait()
	close(taken)
	for n := range taken {
		for range n {
			select {
			case <-answers:
			case <-ctx.Done():
				t.Fatal("a callout that was taken is not answered")
			}
		}
	}
}
