package signed

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

const timeout = 20 * time.Second

// pair makes a key, and returns its public half too.
func pair(t testing.TB, create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
	t.Helper()
	key, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

func sign(t testing.TB, key nkeys.KeyPair, nonce string) []byte {
	t.Helper()
	signature, err := key.Sign([]byte(nonce))
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func parse(t testing.TB, text string) (session.Opener, error) {
	t.Helper()
	n, err := conf.ParseString(text)
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	opener := Parse(n, &faults)
	return opener, faults.Err()
}

func open(t testing.TB, text string) session.Source {
	t.Helper()
	opener, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := opener.Open(t.Context(), session.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNkey(t *testing.T) {
	key, public := pair(t, nkeys.CreateUser)
	stranger, strange := pair(t, nkeys.CreateUser)
	s := open(t, `kind: nkey, users: [{nkey: `+public+`, role: backend}]`)
	raw, std := base64.RawURLEncoding, base64.StdEncoding
	const nonce = "aNonce"
	for name, c := range map[string]struct {
		nkey, nonce, signature string
		ok                     bool
	}{
		"raw":               {public, nonce, raw.EncodeToString(sign(t, key, nonce)), true},
		"padded":            {public, nonce, std.EncodeToString(sign(t, key, nonce)), true},
		"none":              {public, nonce, "", false},
		"other nonce":       {public, nonce, raw.EncodeToString(sign(t, key, "other")), false},
		"no nonce":          {public, "", raw.EncodeToString(sign(t, key, "")), false},
		"other key":         {public, nonce, raw.EncodeToString(sign(t, stranger, nonce)), false},
		"not listed":        {strange, nonce, raw.EncodeToString(sign(t, stranger, nonce)), false},
		"not base64":        {public, nonce, "***", false},
		"too short":         {public, nonce, raw.EncodeToString(sign(t, key, nonce)[:63]), false},
		"no key":            {"", nonce, raw.EncodeToString(sign(t, key, nonce)), false},
		"lower case nkey":   {strings.ToLower(public), nonce, raw.EncodeToString(sign(t, key, nonce)), false},
		"the nonce, itself": {public, nonce, nonce, false},
	} {
		r := &session.Request{Credential: session.Credential{Kind: session.Nkey, Nkey: c.nkey, Nonce: c.nonce, Signature: c.signature}}
		found, err := s.Find(t.Context(), r)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: found %+v, error %v; want it accepted: %v", name, found, err, c.ok)
		}
		if err == nil && (found.Data["role"] != "backend" || found.Data["nkey"] != public || found.Key != public) {
			t.Errorf("%s: expected nkey, role and key of the user; found %+v", name, found)
		}
		if key, ok := s.Accepts(r); key != "" || !ok {
			t.Errorf("%s: accepts with key %q, %v; want none, as a signature must not be cached", name, key, ok)
		}
		r.Credential.Kind = session.JWT
		if _, err := s.Find(t.Context(), r); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s, as a credential of another kind: expected ErrUnknown; found %v", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	userKey, user := pair(t, nkeys.CreateUser)
	accountKey, account := pair(t, nkeys.CreateAccount)
	_, signing := pair(t, nkeys.CreateAccount)
	userSeed, err := userKey.Seed()
	if err != nil {
		t.Fatal(err)
	}
	accountSeed, err := accountKey.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, fault string }{
		{`kind: nkey, users: [{nkey: ` + user + `}]`, ""},
		{`kind: nkey`, `field "users" is missing`},
		{`kind: nkey, users: [{role: x}]`, "nkey: expected the public key of a user (U...); found nothing"},
		{`kind: nkey, users: [` + user + `]`, "nkey: expected"},
		{`kind: nkey, users: [{nkey: ` + account + `}]`, "nkey: expected the public key of a user (U...); found the public key of an account (A...)"},
		{`kind: nkey, users: [{nkey: ` + string(userSeed) + `}]`, "found the seed of a user key (SU...)"},
		{`kind: nkey, users: [{nkey: ` + user + `}, {nkey: ` + user + `}]`, "duplicate"},
		{`kind: nkey, issuers: []`, `unknown field "issuers"`},
		{`kind: jwt, issuers: [` + account + `]`, ""},
		{`kind: jwt, issuers: [{account: ` + account + `, signing_keys: [` + signing + `]}], bearer: false`, ""},
		{`kind: jwt`, `field "issuers" is missing`},
		{`kind: jwt, issuers: []`, "at least one account"},
		{`kind: jwt, issuers: [` + user + `]`, "issuers: expected the public key of an account (A...); found the public key of a user (U...)"},
		{`kind: jwt, issuers: [` + string(accountSeed) + `]`, "found the seed of an account key (SA...)"},
		{`kind: jwt, issuers: [{account: ` + account + `, signing_keys: [x]}]`, "found another text"},
		{`kind: jwt, issuers: [{signing_keys: [` + signing + `]}]`, `field "account" is missing`},
		{`kind: jwt, issuers: [` + account + `, ` + account + `]`, "duplicate"},
		{`kind: jwt, issuers: 7`, "expected a block"},
	} {
		_, err := parse(t, c.text)
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: found error %v, want %q", c.text, err, c.fault)
		}
		if err != nil && (strings.Contains(err.Error(), string(userSeed)) || strings.Contains(err.Error(), string(accountSeed))) {
			t.Errorf("%s: the fault holds a seed: %v", c.text, err)
		}
	}
}

// authenticator gives what a real client sent to a source.
type authenticator func(*session.Request) bool

func (f authenticator) Check(c natsserver.ClientAuthentication) bool {
	o := c.GetOpts()
	credential := session.Credential{Kind: session.Nkey, Nkey: o.Nkey, Nonce: string(c.GetNonce()), Signature: o.Sig}
	if o.JWT != "" {
		credential.Kind, credential.Value = session.JWT, o.JWT
	}
	return f(&session.Request{Credential: credential, Host: "127.0.0.1", Kind: "Client", Type: "nats"})
}

// connect connects a client to a server that asks the source.
func connect(t *testing.T, s session.Source, option nats.Option) error {
	t.Helper()
	_, operator := pair(t, nkeys.CreateOperator)
	server, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, AlwaysEnableNonce: true,
		TrustedKeys: []string{operator}, // else upstream discards the client's JWT
		CustomClientAuthentication: authenticator(func(r *session.Request) bool {
			_, err := s.Find(t.Context(), r)
			return err == nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	defer func() { server.Shutdown(); server.WaitForShutdown() }()
	if !server.ReadyForConnections(timeout) {
		t.Fatal("the server is not ready in time")
	}
	nc, err := nats.Connect(server.ClientURL(), option)
	if err == nil {
		nc.Close()
	}
	return err
}

// TestRealNkey lets nats.go sign the nonce of a real server.
func TestRealNkey(t *testing.T) {
	key, public := pair(t, nkeys.CreateUser)
	other, _ := pair(t, nkeys.CreateUser)
	s := open(t, `kind: nkey, users: [{nkey: `+public+`}]`)
	if err := connect(t, s, nats.Nkey(public, key.Sign)); err != nil {
		t.Errorf("the connection of the key's holder was refused: %v", err)
	}
	if err := connect(t, s, nats.Nkey(public, other.Sign)); err == nil {
		t.Error("a client with another key got in")
	}
}
