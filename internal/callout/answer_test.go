package callout

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

// renewalOf is the callout of a connection that lives, from a server that takes answers of an account key.
func renewalOf(t *testing.T, k *keys, expects string) *nats.Msg {
	t.Helper()
	m, _ := calloutOf(t, k, func(c *jwt.AuthorizationRequestClaims) {
		c.ConnectOptions.Token, c.Subject = "", expects
		c.Tags = append(c.Tags, forwarded.Request{Renewal: true}.Tag())
	})
	return m
}

// A renewal gets no answer if the server would not accept the answer, or if the handler cannot judge the connection. The
// connection lives on until a handler can judge it.
func TestRenewalsThatGetNoAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		another bool // issuer
		payload int32
	}{"another issuer": {true, 0}, "a large answer": {false, 1400}} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, func(o *natsserver.Options) { o.MaxPayload = tt.payload })
			s, _ := g.add(t, "g")
			s.cfg.keys.xkey = nil
			expects := public(s.cfg.keys.issuer)
			if tt.another {
				expects = public(newKeys(t).issuer)
			}
			answers, err := s.nc.SubscribeSync(nats.NewInbox())
			if err != nil {
				t.Fatal(err)
			}
			m := renewalOf(t, s.cfg.keys, expects)
			m.Reply = answers.Subject
			if err := s.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is put off", func() bool { return s.metric(`stamp_callout_answers_total{result="failed"}`) == "1" })
			handler := s.served[0].nc
			if err := s.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, nc := range []*nats.Conn{handler, s.nc} {
				if err := nc.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if n, _, err := answers.Pending(); n != 0 || err != nil {
				t.Errorf("expected no answer to a renewal; found %d, error %v", n, err)
			}
		})
	}
}

// A request that waits does not keep later messages in memory.
func TestWaitingKeepsNoMessages(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	var a *arrival
	var gone atomic.Bool
	sub, err := s.nc.SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	publish := func() *nats.Msg {
		if err := s.nc.PublishRequest("x", "reply", []byte("data")); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	func() {
		m := publish()
		a = newArrival(s.nc, m)
		runtime.AddCleanup(m, func(struct{}) { gone.Store(true) }, struct{}{})
	}()
	publish() // nats.go keeps the last one
	eventually(t, "the message is let go", func() bool { runtime.GC(); return gone.Load() })
	if string(a.data) != "data" || a.reply != "reply" {
		t.Errorf("the arrival has data %q and reply subject %q, want data and reply", a.data, a.reply)
	}
}

// The header block of a request counts towards the bytes that wait, and is not kept.
func TestHeadersOfRequestsAreBounded(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	long := strings.Repeat("x", maxRequest)
	s.served[0].arrive(&nats.Msg{Header: nats.Header{xkeyHeader: {long}}, Data: []byte("x")})
	if got := s.metric(`stamp_callout_answers_total{result="malformed"}`); got != "1" {
		t.Errorf("malformed requests are counted as %s, want 1", got)
	}
	if a := newArrival(nil, &nats.Msg{Reply: "r", Header: nats.Header{"Other": {long}}}); a.size() > 1024 {
		t.Errorf("a short request with a long other header counts %d bytes, want 1024 or less", a.size())
	}
}

// No number in the configuration makes the process run out of memory at the start.
func TestNumbersHaveAnUpperBound(t *testing.T) {
	for _, number := range []string{"2000000000", "9223372036854775807", "0", "-1"} {
		for _, text := range []string{
			"queue: " + number + anonymousConf,
			strings.Replace(anonymousConf, "kind: anonymous", "kind: anonymous, queue: "+number, 1),
			strings.Replace(anonymousConf, "kind: anonymous", "kind: anonymous, concurrency: "+number, 1),
			strings.Replace(anonymousConf, "kind: anonymous", "kind: anonymous, cache_size: "+number, 1),
		} {
			n, err := conf.ParseString(text + "\n")
			if err != nil {
				t.Fatal(err)
			}
			var faults conf.Faults
			Parse(n, &faults)
			if err := faults.Err(); err == nil || !strings.Contains(err.Error(), "found "+number) {
				t.Errorf("%s: expected an error that shows the number; found %v", text, err)
			}
		}
	}
	if cfg := parse(t, fmt.Sprint("queue: ", maxQueue, anonymousConf)); cfg.Queue != maxQueue {
		t.Error("the largest allowed number is refused, or read as another one")
	}
}

// A refused probe's connection is not closed early, as a client's may be: whoever asks for readiness must see the refusal.
func TestProbesAreNotTurnedAway(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	var closed atomic.Int64
	s.disconnect = func(context.Context, string, uint64) error { closed.Add(1); return nil }
	for token, want := range map[string]int64{mustProbe(t, s.cfg.keys.issuer): 0, mustProbe(t, newKeys(t).issuer): 0, "t": 1} {
		closed.Store(0)
		m, xkey := calloutOf(t, s.cfg.keys, func(c *jwt.AuthorizationRequestClaims) {
			c.ConnectOptions.Token, c.Subject = token, public(newKeys(t).issuer)
		})
		if c := s.ask(t, m, xkey); !strings.Contains(c.Error, "takes answers of") {
			t.Errorf("expected a refusal that names whose answers the server takes; found %q", c.Error)
		}
		if got := closed.Load(); got != want {
			t.Errorf("the handler closed %d connections, want %d", got, want)
		}
	}
}

// A message about the end of a session always has an age: without one, the servers would close connections of a session that
// was begun anew under the same name. A message about a change has no age, since it renews all connections.
func TestEndsOfSessionsBearTheirAge(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	var sent []forwarded.Renew
	s.renew = func(q forwarded.Renew) error { sent = append(sent, q); return nil }
	s.changed(session.Change{Source: "kv", Key: "a", Deleted: true, Ago: time.Hour})
	s.changed(session.Change{Source: "kv", Key: "a", Deleted: true})
	revision := session.Revision{Bucket: 1, Sequence: 2, Written: 3}
	s.changed(session.Change{Source: "kv", Key: "a", Ago: time.Hour, Revision: revision})
	inRequest := forwarded.Revision(revision)
	want := []forwarded.Renew{{Session: "kv/a", Kick: true, Ago: time.Hour}, {Session: "kv/a", Kick: true, Ago: 1}, {Session: "kv/a", Revision: &inRequest}}
	if !reflect.DeepEqual(sent, want) {
		t.Errorf("told the servers %+v, want %+v", sent, want)
	}
}
