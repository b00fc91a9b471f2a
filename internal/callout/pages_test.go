package callout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

// parseWithFaults reads a block, to which it adds a grant, and returns its faults.
func parseWithFaults(t *testing.T, text string) (*Config, error) {
	t.Helper()
	n, err := conf.ParseString(text + "\ngrants: [{account: APP, publish: [], subscribe: []}]\n")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	cfg := Parse(n, &faults)
	return cfg, faults.Err()
}

// Two listeners on one address are a fault of the configuration.
func TestAddressesThatCollide(t *testing.T) {
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	login := func(name, listen string) string {
		return fmt.Sprintf(`{kind: login, name: %s, listen: %q, public_url: "https://app.example/%s", issuer: "https://login.example", client_id: app, cookie_name: "__Host-%s", bucket: %s, key: %q}`, name, listen, name, name, name, key)
	}
	for _, c := range []struct{ text, want string }{
		{`sessions: [` + login("one", "127.0.0.1:8090") + ", " + login("two", "127.0.0.1:8091") + `]`, ""},
		{`sessions: [` + login("one", "127.0.0.1:8090") + ", " + login("two", "127.0.0.1:8090") + `]`, "listen: the address of session source one too"},
		{`sessions: [` + login("one", "localhost:8090") + ", " + login("two", ":8090") + `]`, "listen: the address of session source one too"},
		{`http: "127.0.0.1:8090", sessions: [` + login("one", "127.0.0.1:8090") + `]`, "listen: the address of http too"},
	} {
		if _, err := parseWithFaults(t, c.text); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("expected the fault %q; found %v", c.want, err)
		}
	}
}

// Two login sources of different providers that would find each other's sessions are a fault of the configuration.
func TestLoginsThatClash(t *testing.T) {
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	login := func(name, public, more string) string {
		return fmt.Sprintf(`{kind: login, name: %s, listen: "%s.example:8090", public_url: %q, issuer: "https://%s.example", client_id: app, key: %q, %s}`, name, name, public, name, key, more)
	}
	const bucket, public, cookie = "bucket: the bucket", "public_url: the address of session source one (configuration:1:", "cookie_name: on this host the cookie"
	for _, c := range []struct{ one, two, want string }{
		{login("one", "https://a.example", "bucket: a"), login("two", "https://b.example", "bucket: b"), ""},
		{login("one", "https://a.example", "bucket: a"), login("two", "https://b.example", "bucket: a"), bucket},
		{login("one", "https://a.example", "bucket: a"), login("two", "https://b.example", `bucket: "a-index"`), bucket},
		{login("one", "https://a.example", `bucket: "a-index"`), login("two", "https://b.example", "bucket: a"), bucket},
		{login("one", "https://a.example", "bucket: a, account: AUTH"), login("two", "https://b.example", "bucket: a"), bucket},
		{login("one", "https://a.example", "bucket: a, account: A"), login("two", "https://b.example", "bucket: a, account: B"), ""},
		{login("one", "https://a.example", "bucket: a, domain: x"), login("two", "https://b.example", "bucket: a, domain: y"), ""},
		{login("one", "https://a.example/x", "bucket: a"), login("two", "https://A.example/x/", `bucket: b, cookie_name: "__Host-b"`), public},
		{login("one", "https://a.example/x", "bucket: a"), login("two", "https://a.example:8443/y", "bucket: b"), cookie},
		{login("one", "https://a.example/x", "bucket: a"), login("two", "https://a.example/y", `bucket: b, cookie_name: "__Host-b"`), ""},
	} {
		if _, err := parseWithFaults(t, "account: AUTH, sessions: ["+c.one+", "+c.two+"]"); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("expected the fault %q; found %v", c.want, err)
		}
	}
}

// It is a fault if the accepted credentials let no connection in by a login source, and a warning if they are none of its
// tickets.
func TestCredentialsOfLogins(t *testing.T) {
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, c := range []struct{ credential, more, want, warns string }{
		{"", "", "", ""}, {"", "ticket: 10s", "", ""},
		{"[cookie]", "", "", ""}, {"[cookie]", "ticket: 10s", "", "tickets of session source login open no connection"},
		{"[token]", "ticket: 10s", "", ""}, {"[token]", "", "credential: session source login takes cookies alone", ""},
		{"[cookie]", `worker { file: "pages_test.go", websocket: "wss://app.example" }`, "credential: the tickets of session source login come as tokens", ""},
		{"[token]", `worker { file: "pages_test.go", websocket: "wss://app.example" }`, "", ""},
	} {
		text := fmt.Sprintf(`sessions: [{kind: login, listen: "127.0.0.1:8090", public_url: "https://app.example", issuer: "https://login.example", client_id: app, bucket: b, key: %q, %s}]`, key, c.more)
		if c.credential != "" {
			text += "\ncredential: " + c.credential
		}
		cfg, err := parseWithFaults(t, text)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("credential: %s with %s: expected the fault %q; found %v", c.credential, c.more, c.want, err)
		}
		if warnings := strings.Join(cfg.Warnings(), "\n"); (warnings == "") != (c.warns == "") || !strings.Contains(warnings, c.warns) {
			t.Errorf("credential: %s with %s: expected the warning %q; found %q", c.credential, c.more, c.warns, warnings)
		}
	}
}

// recordingSource is a source that records what it is opened with, and is not ready.
type recordingSource struct {
	session.Settings
	env *session.Env
}

func (s recordingSource) Open(_ context.Context, env session.Env) (session.Source, error) {
	*s.env = env
	return s, nil
}
func (recordingSource) Accepts(*session.Request) (string, bool) { return "", false }
func (recordingSource) Find(context.Context, *session.Request) (*session.Session, error) {
	return nil, session.ErrUnknown
}
func (recordingSource) Close() error       { return nil }
func (recordingSource) LookupError() error { return errors.New("its pages are not served") }

// Sources learn whether cookies are accepted, and the handler learns from them whether their pages work.
func TestSourcesAndTheHandler(t *testing.T) {
	for credential, want := range map[string]bool{"": true, "credential: [cookie]": true, "credential: [token, cookie]": true, "credential: [token]": false} {
		cfg := parse(t, credential+anonymousConf)
		var env session.Env
		settings := session.Defaults()
		settings.Name = "recording"
		cfg.sources = []source{{Opener: recordingSource{settings, &env}}}
		h := serve(t, cfg)
		if env.Cookies != want {
			t.Errorf("credential: %q: the source is told that cookies are accepted: %t, want %t", credential, env.Cookies, want)
		}
		h.UseProbe("APP", nil)
		if err := h.CheckReady(t.Context()); err == nil || err.Error() != "cannot judge: session source recording: its pages are not served" {
			t.Errorf("credential: %q: expected the handler not to be ready, with the reason; found %v", credential, err)
		}
	}
}

// Names that no cookie or header field can have are refused, since nothing would ever match them.
func TestNamesThatCannotBe(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`request { cookies: [tenant, "__Host-x"], headers: [User-Agent] }`, ""},
		{`request { cookies: ["a b"] }`, `request: cookies: "a b" cannot be a name`},
		{`request { cookies: ["a=b"] }`, `request: cookies: "a=b" cannot be a name`},
		{`request { cookies: [""] }`, `request: cookies: "" cannot be a name`},
		{`request { headers: ["User-Agent:"] }`, `request: headers: "User-Agent:" cannot be a name`},
		{`request { headers: ["ä"] }`, `request: headers: "ä" cannot be a name`},
		{`sessions: [{kind: kv, bucket: b, cookie: "a;b"}], grants: [{account: APP, publish: [], subscribe: []}]`, `cookie: expected the name of a cookie (a token of RFC 9110); found "a;b"`},
	} {
		n, err := conf.ParseString(c.text)
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		Parse(n, &faults)
		if err := faults.Err(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: expected the fault %q; found %v", c.text, c.want, err)
		}
	}
}
