package stamp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/internal/wire"
	"stamp.example/receivers/go/stamptest"
)

// newService makes a server, and a service that trusts it.
func newService(t testing.TB, change func(*stamptest.Server, *stamp.Options)) (*stamptest.Server, *stamp.Trust) {
	t.Helper()
	server := stamptest.NewServer()
	options := stamp.Options{
		User: "X-User", One: []string{"Session"}, Many: []string{"Roles"},
		Accounts: map[string][]string{server.Account: {">"}}, Servers: server.Servers(), Keys: server.Keys(),
	}
	if change != nil {
		change(server, &options)
	}
	trust, err := stamp.NewTrust(options)
	if err != nil {
		t.Fatal(err)
	}
	return server, trust
}

var alice = map[string][]string{"X-User": {"alice"}, "Session": {"0af3-secret"}, "Roles": {"admin", "ops"}}

func TestErrors(t *testing.T) {
	server, trust := newService(t, nil)
	m := server.Stamp(alice, "orders.new", []byte("payload-secret"))
	if _, err := stamp.Identify(m, trust); err != nil || stamp.VerdictOf(err) != stamp.OK {
		t.Fatal(err)
	}
	m.Payload = nil
	id, err := stamp.Identify(m, trust)
	if !errors.Is(err, stamp.ErrAnonymous) || stamp.VerdictOf(err) != stamp.ProofWrong || id.User != "" || id.Values("Roles") != nil {
		t.Errorf("expected an anonymous identity and the verdict proof-wrong; found %+v, error %v", id, err)
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "alice") {
		t.Errorf("the error has a value: %v", err)
	}
	if stamp.VerdictOf(errors.New("another")) != stamp.Anonymous {
		t.Error("an error of another kind does not make the message anonymous")
	}
}

func TestValues(t *testing.T) {
	server, trust := newService(t, func(s *stamptest.Server, _ *stamp.Options) { s.Encrypt = []string{"Session"} })
	id, err := stamp.Identify(server.Stamp(alice, "orders.new", nil), trust)
	if err != nil {
		t.Fatal(err)
	}
	if id.Value("session") != "0af3-secret" || id.Value("Roles") != "" || len(id.Values("ROLES")) != 2 || id.Values("Other") != nil {
		t.Errorf("expected the stamped values, by names in any case; found %+v", id)
	}
	// What is printed by mistake, for example into a log, has no secrets.
	options := stamp.Options{Keys: []string{"0af3-secret"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		text := fmt.Sprintf(verb, id) + fmt.Sprintf(verb, &id) + fmt.Sprintf(verb, trust) + fmt.Sprintf(verb, *trust) + fmt.Sprintf(verb, options)
		if strings.Contains(text, "secret") || len(text) > 800 {
			t.Errorf("%s: %s", verb, text)
		}
	}
}

// One object of trust judges messages of many connections at once, and each proof once.
func TestConcurrent(t *testing.T) {
	server, trust := newService(t, func(s *stamptest.Server, o *stamp.Options) {
		s.Encrypt, o.Replays = []string{"Session"}, 10000
	})
	const goroutines, each = 8, 50
	shared := server.Stamp(alice, "orders.shared", nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for g := range goroutines {
		wg.Go(func() {
			user := fmt.Sprintf("user %d", g)
			for range each {
				m := server.Stamp(map[string][]string{"X-User": {user}, "Session": {user}}, "orders.new", []byte(user))
				if id, err := stamp.Identify(m, trust); err != nil || id.User != user || id.Value("Session") != user {
					t.Errorf("expected the identity of %s; found %+v, error %v", user, id, err)
				}
			}
			if _, err := stamp.Identify(shared, trust); err == nil {
				mu.Lock()
				taken++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if taken != 1 {
		t.Errorf("one message was accepted %d times, want once", taken)
	}
}

// The key of a salt is derived once, and forged messages with other salts do not displace it.
func TestKeysAreKept(t *testing.T) {
	server, trust := newService(t, nil)
	if _, err := stamp.Identify(server.Stamp(alice, "orders.new", nil), trust); err != nil {
		t.Fatal(err)
	}
	forged := server.Stamp(alice, "orders.new", nil)
	proof := forged.Header[wire.Proof][0]
	for i := range 5000 {
		forged.Header[wire.Proof] = []string{otherSalt(proof, i)}
		if _, err := stamp.Identify(forged, trust); stamp.VerdictOf(err) != stamp.ProofWrong {
			t.Fatal(err)
		}
	}
	if kept := stamp.KeptCiphers(trust); kept != 1 {
		t.Errorf("expected the key of one salt, found %d", kept)
	}
}

// A large message does not make the receiver keep large buffers.
func TestNoLargeBufferIsKept(t *testing.T) {
	server, trust := newService(t, nil)
	large := server.Stamp(map[string][]string{"X-User": {"alice"}, "Roles": {strings.Repeat("r", 50_000)}}, "orders.new", nil)
	raw := make([]byte, 60_000)
	raw[0] = wire.KindReceiver
	long := append([]byte{1, byte(len(raw) >> 8), byte(len(raw) & 255)}, raw...)
	forwarded := stamp.Message{Header: map[string][]string{wire.ForwardedProof: {string(wire.AppendText(nil, append(long, make([]byte, 1<<20)...)))}}}
	if kept := stamp.KeptBytes(trust, large, forwarded); kept > 64<<10 {
		t.Errorf("the receiver keeps %d bytes, expected at most 64 KiB", kept)
	}
	if kept := stamp.KeptBytes(trust, server.Stamp(alice, "orders.new", nil)); kept == 0 {
		t.Error("the buffers of a small message are not kept")
	}
}

// otherSalt returns the proof with the nth other salt, from 0.
func otherSalt(proof string, n int) string {
	raw, _ := wire.AppendExact(nil, proof)
	raw[5] ^= byte(n + 1)
	raw[6] ^= byte((n + 1) >> 8)
	return string(wire.AppendText(nil, raw))
}

// Allocations of one message: the list of headers that the service reads; of encrypted ones also the decrypted text, and a list
// for each header. Besides, there is one for each header that is not proven, for its folded name.
func TestAllocations(t *testing.T) {
	tests := []struct {
		name   string
		change func(*stamptest.Server, *stamp.Options)
		most   float64
	}{
		{"for a receiver", nil, 2},
		{"encrypted", func(s *stamptest.Server, _ *stamp.Options) { s.Encrypt = []string{"Session"} }, 4},
		{"signed", func(s *stamptest.Server, _ *stamp.Options) { s.Sign = true }, 2},
		{"unproven", func(_ *stamptest.Server, o *stamp.Options) { o.Servers, o.Keys = nil, nil }, 2},
	}
	for _, tt := range tests {
		server, trust := newService(t, tt.change)
		m := server.Stamp(alice, "orders.new", make([]byte, 256))
		m.Header["Nats-Msg-Id"] = []string{"1"}
		got := testing.AllocsPerRun(100, func() {
			if _, err := stamp.Identify(m, trust); err != nil {
				t.Fatal(err)
			}
		})
		if !raceEnabled && got > tt.most {
			t.Errorf("%s: %v allocations, expected at most %v", tt.name, got, tt.most)
		}
	}
}

// Identify and Forwarded take nothing that a stranger wrote, and never panic.
func FuzzIdentify(f *testing.F) {
	server, trust := newService(f, func(s *stamptest.Server, _ *stamp.Options) { s.Encrypt = []string{"Session"} })
	good := server.Stamp(alice, "orders.new", []byte("payload"))
	forwarded, err := stamp.Forward(good, trust)
	if err != nil {
		f.Fatal(err)
	}
	proof := good.Header[wire.Proof][0]
	for _, name := range []string{"X-User", "x_user", "Session", wire.Proof, wire.ForwardedProof, wire.Time, "", "\x00"} {
		f.Add(name, "mallory", proof, forwarded, []byte("payload"))
	}
	f.Add("a", "b", "AQ", "AQAA", []byte(nil))
	f.Fuzz(func(t *testing.T, name, value, proof, forwarded string, payload []byte) {
		for _, base := range []map[string][]string{nil, good.Header} {
			header := map[string][]string{}
			for n, v := range base {
				header[n] = slices.Clone(v)
			}
			header[name] = append(header[name], value)
			header[wire.Proof] = []string{proof}
			header[wire.ForwardedProof] = []string{forwarded}
			m := stamp.Message{Header: header, Payload: payload}
			if id, err := stamp.Identify(m, trust); err == nil && id.User != "alice" || err != nil && id.User != "" {
				t.Errorf("Identify took what a stranger wrote: %+v, error %v", id, err)
			}
			if id, err := stamp.Forwarded(m, trust); err == nil && id.User != "alice" || err != nil && id.User != "" {
				t.Errorf("Forwarded took what a stranger wrote: %+v, error %v", id, err)
			}
		}
	})
}

// OptionsJSON and NewTrust never panic, and no error has a seed.
func FuzzTrust(f *testing.F) {
	server := stamptest.NewServer()
	text, err := json.Marshal(map[string]any{"user": "X-User", "accounts": map[string][]string{"A": {"a.*"}}, "servers": server.Servers(), "keys": server.Keys(), "max_age": 5})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		options, err := stamp.OptionsJSON(text)
		if err == nil {
			_, err = stamp.NewTrust(options)
		}
		if err != nil && strings.Contains(err.Error(), server.Keys()[0]) {
			t.Errorf("the error has a seed")
		}
	})
}

func BenchmarkIdentify(b *testing.B) {
	for _, kind := range []struct {
		name   string
		change func(*stamptest.Server, *stamp.Options)
	}{
		{"unproven", func(_ *stamptest.Server, o *stamp.Options) { o.Servers, o.Keys = nil, nil }},
		{"receiver", nil},
		{"encrypted", func(s *stamptest.Server, _ *stamp.Options) { s.Encrypt = []string{"Session"} }},
		{"signed", func(s *stamptest.Server, _ *stamp.Options) { s.Sign = true }},
	} {
		for _, size := range []int{16, 256, 65536} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, size), func(b *testing.B) {
				server, trust := newService(b, kind.change)
				m := server.Stamp(alice, "orders.new", make([]byte, size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := stamp.Identify(m, trust); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestDurations: a trust has whole seconds, as in all languages. MaxAge: 60 is most likely meant to be a minute, and would be 60 nanoseconds.
func TestDurations(t *testing.T) {
	for _, d := range []time.Duration{60, time.Millisecond, time.Second + 1, -1, -time.Second, 101 * 366 * 24 * time.Hour, math.MaxInt64, math.MinInt64} {
		for name, o := range map[string]stamp.Options{"max_age": {MaxAge: d}, "max_skew": {MaxAge: time.Minute, MaxSkew: d}} {
			o.User, o.Accounts = "X-User", map[string][]string{"APP": {">"}}
			if _, err := stamp.NewTrust(o); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %d: expected an error that names it, found %v", name, d, err)
			}
		}
	}
}
