package callout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"stamp/server/callout/session"
	"stamp/server/conf"
)

// Two that are to listen on one address are refused before anything starts.
func TestAddressesThatCollide(t *testing.T) {
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	login := func(name, listen string) string {
		return fmt.Sprintf(`{kind: login, name: %s, listen: %q, public_url: "https://app.example/%s", issuer: "https://login.example", client_id: app, bucket: %s, key: %q}`, name, listen, name, name, key)
	}
	for _, c := range []struct{ text, want string }{
		{`sessions: [` + login("one", "127.0.0.1:8090") + ", " + login("two", "127.0.0.1:8091") + `]`, ""},
		{`sessions: [` + login("one", "127.0.0.1:8090") + ", " + login("two", "127.0.0.1:8090") + `]`, "listen: the address of session source one too"},
		{`sessions: [` + login("one", "localhost:8090") + ", " + login("two", ":8090") + `]`, "listen: the address of session source one too"},
		{`http: "127.0.0.1:8090", sessions: [` + login("one", "127.0.0.1:8090") + `]`, "listen: the address of http too"},
	} {
		n, err := conf.ParseString(c.text + "\ngrants: [{account: APP, publish: [], subscribe: []}]\n")
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		Parse(n, &faults)
		if err := faults.Err(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
}

// told is a source that keeps what it is opened with, and is not ready.
type told struct {
	session.Settings
	env *session.Env
}

func (s told) Open(_ context.Context, env session.Env) (session.Source, error) {
	*s.env = env
	return s, nil
}
func (told) Accepts(*session.Request) (string, bool) { return "", false }
func (told) Find(context.Context, *session.Request) (*session.Session, error) {
	return nil, session.ErrUnknown
}
func (told) Close() error { return nil }
func (told) Able() error  { return errors.New("its pages are not served") }

// Sources learn whether cookies are accepted, and the handler whether they work.
func TestSourcesAndTheHandler(t *testing.T) {
	for credential, want := range map[string]bool{"": true, "credential: [cookie]": true, "credential: [token, cookie]": true, "credential: [token]": false} {
		cfg := parse(t, credential+anonymousConf)
		var env session.Env
		settings := session.Defaults()
		settings.Name = "told"
		cfg.sources = []session.Opener{told{settings, &env}}
		h := serve(t, cfg)
		if env.Cookies != want {
			t.Errorf("%q: cookies %t", credential, env.Cookies)
		}
		h.UseProbe("APP", nil)
		if err := h.Ready(t.Context()); err == nil || err.Error() != "cannot judge: session source told: its pages are not served" {
			t.Errorf("%q: ready: %v", credential, err)
		}
	}
}

// Names of cookies and header fields that can be none are refused: nothing would ever match them.
func TestNamesThatCannotBe(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`request { cookies: [tenant, "__Host-x"], headers: [User-Agent] }`, ""},
		{`request { cookies: ["a b"] }`, `request: cookies: "a b" cannot be a name`},
		{`request { cookies: ["a=b"] }`, `request: cookies: "a=b" cannot be a name`},
		{`request { cookies: [""] }`, `request: cookies: "" cannot be a name`},
		{`request { headers: ["User-Agent:"] }`, `request: headers: "User-Agent:" cannot be a name`},
		{`request { headers: ["ä"] }`, `request: headers: "ä" cannot be a name`},
		{`sessions: [{kind: anonymous, cookie: "a;b"}], grants: [{account: APP, publish: [], subscribe: []}]`, `cookie: "a;b" cannot be the name of a cookie`},
	} {
		n, err := conf.ParseString(c.text)
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		Parse(n, &faults)
		if err := faults.Err(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}
