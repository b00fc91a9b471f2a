package callout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

// parse returns the configuration of a text, with fresh keys in place of those in the text.
func parse(t *testing.T, text string) *Config {
	t.Helper()
	n, err := conf.ParseString(text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	cfg := Parse(n, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Complete(newKey(t, nkeys.CreateAccount), newKey(t, nkeys.CreateCurveKeys)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

const anonymousConf = `
	sessions: [{kind: anonymous, data: {user: nobody}}]
	grants: [{name: all, account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}", X-Kind: "{{ request.credential }}"}}]`

// serving is a handler on a server in this process, with a client that sends callouts as the server would.
type serving struct {
	*Handler
	nc  *nats.Conn
	log *lockedLog
	set *metrics.Set
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func serve(t *testing.T, cfg *Config) *serving {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{DontListen: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	connect := func() *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(s))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	log, set := &lockedLog{}, metrics.NewSet()
	h, err := New(t.Context(), cfg, Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	if err := h.Serve(t.Context(), connect()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	return &serving{h, connect(), log, set}
}

// ask sends a callout and returns the answer's claims.
func (s *serving) ask(t *testing.T, m *nats.Msg, serverXKey nkeys.KeyPair) *jwt.AuthorizationResponseClaims {
	t.Helper()
	answer, err := s.nc.RequestMsg(m, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	data := answer.Data
	if m.Header.Get(xkeyHeader) != "" {
		if data, err = serverXKey.Open(data, public(s.cfg.keys.xkey)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := jwt.DecodeAuthorizationResponseClaims(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The answer to a callout is a signed user JWT with the grant's account, end and headers.
func TestAnswers(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	var userNkey, server string
	m, xkey := calloutOf(t, s.cfg.keys, func(c *jwt.AuthorizationRequestClaims) {
		c.ConnectOptions.Token = ""
		userNkey, server = c.UserNkey, c.Server.ID
	})
	c := s.ask(t, m, xkey)
	if c.Error != "" || c.Subject != userNkey || c.Audience != server || c.Issuer != public(s.cfg.keys.issuer) {
		t.Fatalf("the answer is not for this user and server, or has no user JWT: %+v", c)
	}
	user, err := jwt.DecodeUserClaims(c.Jwt)
	if err != nil {
		t.Fatal(err)
	}
	if user.Subject != userNkey || user.Audience != "APP" || user.Issuer != public(s.cfg.keys.issuer) || user.Expires == 0 {
		t.Errorf("the user JWT is not for this user in APP, or has no end: %+v", user)
	}
	headers, err := claim.FromUserJWT(c.Jwt, claim.MaxLimits)
	if err != nil || len(headers.Headers) != 2 {
		t.Errorf("expected a claim with 2 headers; found %v, error %v", headers, err)
	}
}

// The server that asked gets the reason of a refusal, and nobody else does.
func TestRefusesWithAReason(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	m, xkey := calloutOf(t, s.cfg.keys) // with a token, which nobody knows
	if c := s.ask(t, m, xkey); c.Jwt != "" || c.Error != ErrUnknown.Error() {
		t.Errorf("expected a refusal of an unknown credential; found %+v", c)
	}
	s.cfg.kinds = map[session.Kind]bool{session.Cookie: true}
	if c := s.ask(t, m, xkey); c.Jwt != "" || !strings.Contains(c.Error, ErrKind.Error()) {
		t.Errorf("expected a refusal of the kind of credential; found %+v", c)
	}
	if strings.Contains(s.log.String(), "credential\"") || strings.Contains(s.log.String(), m.Header.Get(xkeyHeader)) {
		t.Error("the log holds the credential")
	}
}

// A message that is not a server's callout gets no answer.
func TestReadRefuses(t *testing.T) {
	k := newKeys(t)
	good, _ := calloutOf(t, k)
	plain := &keys{issuer: k.issuer}
	unencrypted, _ := calloutOf(t, plain)
	other, _ := calloutOf(t, newKeys(t))
	audience, _ := calloutOf(t, k, func(c *jwt.AuthorizationRequestClaims) { c.Audience = "other" })
	server, _ := calloutOf(t, k, func(c *jwt.AuthorizationRequestClaims) { c.Server.ID = public(newKey(t, nkeys.CreateServer)) })
	cut := *good
	cut.Data = good.Data[:len(good.Data)-1]
	for name, tt := range map[string]struct {
		keys *keys
		msg  *nats.Msg
		want error
	}{
		"not encrypted":            {k, unencrypted, errNotEncrypted},
		"encrypted without a key":  {plain, good, errNoXKey},
		"encrypted to another key": {k, other, errDecrypt},
		"cut":                      {k, &cut, errDecrypt},
		"audience":                 {k, audience, errNotServer},
		"another server's":         {k, server, errNotServer},
		"empty":                    {k, &nats.Msg{Header: good.Header}, errNotBox},
		"not a JWT":                {plain, &nats.Msg{Data: []byte("x")}, nil},
	} {
		if _, err := tt.keys.read(newArrival(nil, tt.msg)); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: expected the request to be refused with %v; found error %v", name, tt.want, err)
		}
	}
	if _, err := k.read(newArrival(nil, good)); err != nil {
		t.Error(err)
	}
	if _, err := plain.read(newArrival(nil, unencrypted)); err != nil {
		t.Error(err)
	}
}

// No bytes but a server's own request are read as a callout.
func FuzzRead(f *testing.F) {
	k := newKeys(f)
	plain := &keys{issuer: k.issuer}
	good, _ := calloutOf(f, k)
	bare, _ := calloutOf(f, plain)
	f.Add(good.Data, good.Header.Get(xkeyHeader))
	f.Add(bare.Data, "")
	f.Fuzz(func(t *testing.T, data []byte, from string) {
		m := &nats.Msg{Data: data, Header: nats.Header{xkeyHeader: {from}}}
		// Neither may panic; only what calloutOf made is understood.
		if _, err := k.read(newArrival(nil, m)); err == nil && string(data) != string(good.Data) {
			t.Error("a request that calloutOf did not make was accepted")
		}
		if r, err := plain.read(newArrival(nil, &nats.Msg{Data: data})); err == nil && r.ServerID == "" {
			t.Error("a request of no server")
		}
	})
}

// MQTT's CONNECT has one field for a password, a token and a user JWT. The server copies it into the other two.
func TestCredentialsOfMQTT(t *testing.T) {
	k := &keys{issuer: newKey(t, nkeys.CreateAccount)}
	page := &forwarded.Request{TokenCookie: "c"}
	password := session.Credential{Kind: session.Password, Username: "u", Password: "p", MayBeToken: true}
	for name, tt := range map[string]struct {
		options    jwt.ConnectOptions
		fromServer *forwarded.Request
		want       session.Credential
	}{
		"nothing":               {jwt.ConnectOptions{}, nil, session.Credential{Kind: session.None}},
		"user and password":     {jwt.ConnectOptions{Username: "u", Password: "p", Token: "p"}, nil, password},
		"password and sentinel": {jwt.ConnectOptions{Username: "u", Password: "p", Token: "p", JWT: "j"}, nil, password},
		"password and cookie":   {jwt.ConnectOptions{Username: "u", Password: "p", Token: "p"}, page, password},
		"user":                  {jwt.ConnectOptions{Username: "u"}, nil, session.Credential{Kind: session.Password, Username: "u"}},
		"user JWT":              {jwt.ConnectOptions{Username: "u", Password: "j", Token: "j", JWT: "j"}, nil, session.Credential{Kind: session.JWT, Username: "u", Value: "j"}},
		"sentinel alone":        {jwt.ConnectOptions{JWT: "j"}, nil, session.Credential{Kind: session.JWT, Value: "j"}},
		"cookie":                {jwt.ConnectOptions{}, page, session.Credential{Kind: session.Cookie, Value: "c"}},
		"cookie and sentinel":   {jwt.ConnectOptions{JWT: "j"}, page, session.Credential{Kind: session.Cookie, Value: "c"}},
		"cookie and user":       {jwt.ConnectOptions{Username: "u"}, page, session.Credential{Kind: session.Cookie, Username: "u", Value: "c"}},
	} {
		m, _ := calloutOf(t, k, func(c *jwt.AuthorizationRequestClaims) {
			c.ConnectOptions, c.ClientInformation.Type = tt.options, "mqtt"
			c.Tags = nil
			if tt.fromServer != nil {
				c.Tags = append(c.Tags, tt.fromServer.Tag())
			}
		})
		r, err := k.read(newArrival(nil, m))
		if err != nil {
			t.Fatalf("%s: the request cannot be read: %v", name, err)
		}
		if r.Credential != tt.want {
			t.Errorf("%s: the credential is of kind %s, may be a token: %t", name, r.Credential.Kind, r.Credential.MayBeToken)
		}
	}
}

// The handler tells the kinds of credentials apart.
func TestCredentials(t *testing.T) {
	k := &keys{issuer: newKey(t, nkeys.CreateAccount)}
	cookie := forwarded.Request{FromCookie: true, Cookies: map[string]string{"c": "v"}, Headers: map[string][]string{"A": {"b"}}}
	for name, tt := range map[string]struct {
		options    jwt.ConnectOptions
		fromServer *forwarded.Request
		want       session.Credential
	}{
		"nothing":                {jwt.ConnectOptions{}, nil, session.Credential{Kind: session.None}},
		"token":                  {jwt.ConnectOptions{Token: "t"}, nil, session.Credential{Kind: session.Token, Value: "t"}},
		"cookie":                 {jwt.ConnectOptions{Token: "t"}, &cookie, session.Credential{Kind: session.Cookie, Value: "t"}},
		"no cookie":              {jwt.ConnectOptions{Token: "t"}, &forwarded.Request{}, session.Credential{Kind: session.Token, Value: "t"}},
		"forwarded, but nothing": {jwt.ConnectOptions{}, &cookie, session.Credential{Kind: session.None}},
		"password":               {jwt.ConnectOptions{Username: "u", Password: "p"}, nil, session.Credential{Kind: session.Password, Username: "u", Password: "p"}},
		"token and sentinel":     {jwt.ConnectOptions{JWT: "j", Token: "t"}, nil, session.Credential{Kind: session.Token, Value: "t"}},
		"password and sentinel":  {jwt.ConnectOptions{JWT: "j", Username: "u"}, nil, session.Credential{Kind: session.Password, Username: "u"}},
		"user JWT":               {jwt.ConnectOptions{JWT: "j", SignedNonce: "s"}, nil, session.Credential{Kind: session.JWT, Value: "j", Signature: "s"}},
		"nkey":                   {jwt.ConnectOptions{Nkey: "U", SignedNonce: "s"}, nil, session.Credential{Kind: session.Nkey, Nkey: "U", Signature: "s"}},
	} {
		m, _ := calloutOf(t, k, func(c *jwt.AuthorizationRequestClaims) {
			c.ConnectOptions = tt.options
			c.Tags = jwt.TagList{"another"}
			if tt.fromServer != nil {
				c.Tags = append(c.Tags, tt.fromServer.Tag())
			}
		})
		r, err := k.read(newArrival(nil, m))
		if err != nil {
			t.Fatalf("%s: the request cannot be read: %v", name, err)
		}
		if r.Credential != tt.want {
			t.Errorf("%s: the credential is of another kind or has another value: kind %s, want %s", name, r.Credential.Kind, tt.want.Kind)
		}
		if tt.fromServer == &cookie && (r.Cookies["c"] != "v" || len(r.Headers["A"]) != 1) {
			t.Errorf("%s: the forwarded values are lost", name)
		}
	}
}

// The handler works on a request for as long as the server waits.
func TestPatience(t *testing.T) {
	k := &keys{issuer: newKey(t, nkeys.CreateAccount)}
	for lifetime, want := range map[time.Duration]time.Duration{0: 0, time.Nanosecond: time.Second, 5 * time.Second: 5 * time.Second} {
		m, _ := calloutOf(t, k, func(c *jwt.AuthorizationRequestClaims) {
			c.Expires = 0
			if lifetime > 0 {
				c.Expires = time.Now().Add(lifetime).Unix()
			}
		})
		r, err := k.read(newArrival(nil, m))
		// Both are whole seconds, so one may be lost.
		if err != nil || r.patience > want || r.patience < want-time.Second {
			t.Errorf("server's lifetime of the request %s: the handler has %s, want %s; error %v", lifetime, r.patience, want, err)
		}
	}
}

// The handler drops a callout that nobody waits for any more.
func TestLateIsDropped(t *testing.T) {
	s := serve(t, parse(t, anonymousConf))
	m, _ := calloutOf(t, s.cfg.keys)
	sub := &subscription{h: s.Handler, ctx: t.Context()}
	a := newArrival(nil, m)
	a.at = a.at.Add(-time.Hour)
	sub.answer(a)
	if s.metrics.late.Get() != 1 || s.metrics.granted.Get()+s.metrics.refused.Get() != 0 {
		t.Error("a callout that nobody waits for any more was answered")
	}
}

// A probe is accepted only with the handler's own key, and only for a time.
func TestProbes(t *testing.T) {
	issuer, other := newKey(t, nkeys.CreateAccount), newKey(t, nkeys.CreateAccount)
	now := time.Now()
	token, err := probeToken(issuer, "", now)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		token string
		by    nkeys.KeyPair
		at    time.Time
		want  bool
	}{
		"fresh":             {token, issuer, now, true},
		"over":              {token, issuer, now.Add(probeLifetime + time.Second), false},
		"another handler's": {token, other, now, false},
		"changed":           {strings.Replace(token, ".", ".9", 1), issuer, now, false},
		"cut":               {token[:len(token)-2], issuer, now, false},
		"prefix":            {probePrefix, issuer, now, false},
		"prefix and dot":    {probePrefix + ".", issuer, now, false},
		"none":              {"", issuer, now, false},
	} {
		if _, got := isProbe(tt.token, tt.by, tt.at); got != tt.want {
			t.Errorf("%s: isProbe = %t, want %t", name, got, tt.want)
		}
	}
}

// A reload replaces the handler only if the configuration, its keys or its files have changed.
func TestEqual(t *testing.T) {
	base := anonymousConf + "\ncredential: [token]"
	cfg := parse(t, base)
	same := parse(t, "\n\n"+base)
	same.keys = cfg.keys
	if !cfg.Equal(same) {
		t.Error("a configuration some lines further down counts as a changed one")
	}
	for _, text := range []string{
		strings.Replace(base, "nobody", "somebody", 1), strings.Replace(base, "APP", "OTHER", 1), anonymousConf, base + "\nqueue: 7",
	} {
		other := parse(t, text)
		other.keys = cfg.keys
		if cfg.Equal(other) {
			t.Errorf("the changed configuration counts as equal: %s", text)
		}
	}
	if cfg.Equal(parse(t, base)) {
		t.Error("a configuration with other keys counts as equal")
	}
	file := filepath.Join(t.TempDir(), "users.conf")
	withFile := func(user string) *Config {
		text := "users: [{user: " + user + ", password: \"$2a$04$jRLJrPHoeTwJxcQsWSujpesDliE1Oxx6EJa.b/3LaSMM4X2POF2IC\"}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := parse(t, strings.Replace(base, "{kind: anonymous, data: {user: nobody}}", fmt.Sprintf("{kind: users, file: %q}", file), 1))
		c.keys = cfg.keys
		return c
	}
	if alice := withFile("alice"); !alice.Equal(withFile("alice")) || alice.Equal(withFile("bob")) {
		t.Error("a change of a file that the configuration names is not noticed")
	}
	if cfg.Equal(nil) || cfg.Equal("x") {
		t.Error("a configuration equals nil, or a value of another type")
	}
}

// TestSecondsBuckets: histogram_quantile of Prometheus reads only buckets with the label le.
func TestSecondsBuckets(t *testing.T) {
	set := metrics.NewSet()
	newMetrics(set, &Handler{}).seconds.Update(0.003)
	var text strings.Builder
	set.WritePrometheus(&text)
	for _, line := range []string{
		"stamp_callout_seconds_bucket{le=\"0.0025\"} 0\n", "stamp_callout_seconds_bucket{le=\"0.005\"} 1\n", "stamp_callout_seconds_bucket{le=\"+Inf\"} 1\n",
		"stamp_callout_seconds_count 1\n",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("expected the line %q in\n%s", line, text.String())
		}
	}
}
