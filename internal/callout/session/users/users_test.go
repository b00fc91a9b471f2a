package users

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

func hash(t testing.TB, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func parse(t testing.TB, text string) (*Config, error) {
	t.Helper()
	n, err := conf.ParseString(text)
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	opener := Parse(n, &faults)
	return opener.(*Config), faults.Err()
}

func login(user, password string) *session.Request {
	return &session.Request{Credential: session.Credential{Kind: session.Password, Username: user, Password: password}}
}

func TestFind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.conf")
	long := strings.Repeat("x", 72)
	text := fmt.Sprintf(`users: [{user: bob, password: %q}, {user: long, password: %q}]`, hash(t, "b0b", 5), hash(t, long, 4))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := parse(t, fmt.Sprintf(`kind: users, file: %q, users: [{user: alice, password: %q, role: admin, level: 3}]`, file, hash(t, "pw", 4)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := cfg.Open(t.Context(), session.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password string
		ok             bool
	}{
		{"alice", "pw", true},
		{"bob", "b0b", true},
		{"long", long, true},
		{"long", long + "y", false}, // bcrypt does not look at the last one
		{"alice", "b0b", false},
		{"alice", "", false},
		{"alice", "pw ", false},
		{"Alice", "pw", false},
		{"carol", "pw", false},
		{"carol", "b0b", false}, // the password of the hash that stands in
		{"", "pw", false},
	} {
		found, err := s.Find(t.Context(), login(c.user, c.password))
		if c.ok != (err == nil) || err != nil && !errors.Is(err, session.ErrUnknown) {
			t.Errorf("user %s with password %s: found %+v, error %v; want it accepted: %v", c.user, c.password, found, err, c.ok)
		}
		if err == nil && (found.Data["user"] != c.user || found.Key != c.user) {
			t.Errorf("expected the session of %s; found %+v", c.user, found)
		}
	}
	found, err := s.Find(t.Context(), login("alice", "pw"))
	if err != nil || found.Data["role"] != "admin" || found.Data["level"] != 3.0 || len(found.Data) != 3 {
		t.Errorf("expected role and level of alice; found %+v, error %v", found, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Find(over, login("alice", "pw")); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("a caller whose context has ended: expected an error that leaves open whether the user is known; found %v", err)
	}
}

// TestConstantWork: the password of an unknown user is compared with a hash that costs as much as the most expensive one.
func TestConstantWork(t *testing.T) {
	cfg, err := parse(t, fmt.Sprintf(`kind: users, users: [{user: a, password: %q}, {user: b, password: %q}, {user: c, password: %q}]`,
		hash(t, "x", 4), hash(t, "x", 6), hash(t, "x", 5)))
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost(cfg.dummy); err != nil || cost != 6 {
		t.Errorf("the hash that stands in for unknown users costs %d, want 6; error %v", cost, err)
	}
}

func TestAccepts(t *testing.T) {
	var s source
	for _, kind := range []session.Kind{session.None, session.Cookie, session.Token, session.Nkey, session.JWT} {
		r := login("alice", "pw")
		r.Credential.Kind = kind
		if _, ok := s.Accepts(r); ok {
			t.Errorf("Accepts takes a credential of kind %s, want passwords only", kind)
		}
	}
	seen := map[string]*session.Request{}
	for _, r := range []*session.Request{login("a", "bc"), login("ab", "c"), login("a", "b:c"), login("1:a", "bc"), login("a:", "bc"), login("a\x00b", "c"), login("a", "\x00bc")} {
		key, ok := s.Accepts(r)
		if !ok || seen[key] != nil {
			t.Errorf("%q %q: key %q, %v; the same as of %+v", r.Credential.Username, r.Credential.Password, key, ok, seen[key])
		}
		seen[key] = r
	}
}

func TestParse(t *testing.T) {
	good := hash(t, "pw", 4)
	dear := strings.Replace(good, "$04$", "$17$", 1)
	for _, c := range []struct{ text, fault string }{
		{fmt.Sprintf(`users: [{user: a, password: %q}]`, good), ""},
		{fmt.Sprintf(`users: {user: a, password: %q}`, good), ""},
		{fmt.Sprintf(`users: [{user: a, password: %q}]`, strings.Replace(good, "$2a$", "$2y$", 1)), ""},
		{``, "expected users or file"},
		{`file: "/nowhere.conf"`, "file: "},
		{`users: [{user: a, password: s3cret}]`, "not a bcrypt hash"},
		{`users: [{user: a, password: "$5$rounds=5000$usesomesillystri$KqJWpanXZHKq2BOB43TSaYhEWsQ1Lr5QNyPCDH/Tp.6"}]`, "not a bcrypt hash"},
		{fmt.Sprintf(`users: [{user: a, password: %q}]`, good[:40]), "not a bcrypt hash"},
		{fmt.Sprintf(`users: [{user: a, password: %q}]`, dear), "because a login takes too long"},
		{`users: [{user: a}]`, "expected a bcrypt hash"},
		{`users: [{user: a, password: 12345}]`, "expected a bcrypt hash"},
		{fmt.Sprintf(`users: [{password: %q}]`, good), "expected a printable name"},
		{fmt.Sprintf(`users: [{user: "a\nb", password: %q}]`, good), "expected a printable name"},
		{fmt.Sprintf(`users: [{user: a, password: %q}, {user: a, password: %q}]`, good, good), "duplicate"},
		{`users: [alice]`, "expected blocks"},
		{`user: a`, `unknown field "user"`},
	} {
		_, err := parse(t, "kind: users, "+c.text)
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: found error %v, want %q", c.text, err, c.fault)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), good[10:40])) {
			t.Errorf("%s: the fault holds the password or its hash: %v", c.text, err)
		}
	}
}
