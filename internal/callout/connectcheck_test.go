package callout

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/internal/conf"
)

// connectFaults returns the faults of a block connect.
func connectFaults(t *testing.T, block string) (string, *Connect) {
	t.Helper()
	n, err := conf.ParseString(fmt.Sprintf("connect {\n%s\n}\nsessions: [{kind: anonymous}], grants: [{account: APP, publish: [], subscribe: []}]\n", block))
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	c := Parse(n, &faults)
	if err := faults.Err(); err != nil {
		return err.Error(), c.Connect
	}
	return "", c.Connect
}

// write makes a file.
func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What nats.go would reject at the start is a fault of the configuration, with its place. So is what nats.go would try in vain.
func TestConnectIsChecked(t *testing.T) {
	user, other := newKey(t, nkeys.CreateUser), newKey(t, nkeys.CreateUser)
	token, err := jwt.NewUserClaims(public(user)).Encode(newKey(t, nkeys.CreateAccount))
	if err != nil {
		t.Fatal(err)
	}
	seed := func(kp nkeys.KeyPair) string {
		text, err := kp.Seed()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text, err := jwt.FormatUserConfig(token, []byte(seed(user)))
	if err != nil {
		t.Fatal(err)
	}
	creds := func(kp nkeys.KeyPair) string {
		return write(t, strings.ReplaceAll(string(text), seed(user), seed(kp)))
	}
	for _, tt := range []struct{ block, want string }{
		{`urls: ["nats://h:4222", "tls://[::1]:1", "h", "h:4222", "nats://u:p@h", "nats://h/"]`, ""},
		{`urls: ["ws://h/path", "wss://h"]`, ""},
		{`urls: []`, ""},
		{`urls: ["nats://"]`, "configuration:2:9: urls: expected a URL such as nats://127.0.0.1:4222, with nats, tls, ws or wss; found no host"},
		{`urls: [""]`, "found no host"},
		{`urls: ["nats://:4222"]`, "found no host"},
		{`urls: ["http://x"]`, "found another scheme"},
		{`urls: ["nats://h:99999"]`, "found a port"},
		{`urls: ["nats://h:0"]`, "found a port"},
		{`urls: ["nats://h:x"]`, "found what is no URL"},
		{`urls: ["nats://a b"]`, "found a space or a comma"},
		{`urls: [" nats://a"]`, "found a space or a comma"},
		{`urls: ["nats://a,nats://b"]`, "found a space or a comma"},
		{`urls: ["nats://a*b"]`, "no name of a host"},
		{`urls: ["nats://h?x=1"]`, "found ? or #"},
		{`urls: ["nats://h", "ws://h"]`, "cannot be mixed"},
		{`urls: ["nats://user:secret@h:99999"]`, "found a port"},
		{`accounts { A { user: u, password: p, urls: ["http://x"] } }`, "found another scheme"},
		{`system { user: u, password: p, urls: ["http://x"] }`, "found another scheme"},
		{`system { user: u, password: p, sentinel: x }`, "fields of connect"},
		{`inbox_prefix: "_INBOX.a"`, ""},
		{`inbox_prefix: ""`, "inbox_prefix: expected"},
		{`inbox_prefix: "a.*"`, "inbox_prefix: expected"},
		{`inbox_prefix: "a.>"`, "inbox_prefix: expected"},
		{`inbox_prefix: "a b"`, "inbox_prefix: expected"},
		{`inbox_prefix: "a..b"`, "inbox_prefix: expected"},
		{`inbox_prefix: "a."`, "inbox_prefix: expected"},
		{`inbox_prefix: ".a"`, "inbox_prefix: expected"},
		{`tls { ca: "/nowhere/ca.pem" }`, "tls: ca: open /nowhere/ca.pem"},
		{fmt.Sprintf("tls { ca: %q }", write(t, "no certificate")), "expected certificates in PEM"},
		{fmt.Sprintf("tls { cert: %q, key: %q }", write(t, "x"), write(t, "y")), "tls: cert and key: "},
		{fmt.Sprintf("accounts { A { user: u, tls { ca: %q } } }", write(t, "x")), "expected certificates in PEM"},
		{`password: secret`, `password: field "user" is missing`},
		{`creds: "/nowhere/a.creds"`, "creds: open /nowhere/a.creds"},
		{fmt.Sprintf("creds: %q", write(t, "")), "has no user JWT"},
		{fmt.Sprintf("creds: %q", write(t, token)), "has no seed"},
		{fmt.Sprintf("creds: %q", creds(other)), "is not the one of its user JWT"},
		{fmt.Sprintf("creds: %q", creds(user)), ""},
		{fmt.Sprintf("sentinel: %q", write(t, "secret")), "sentinel: "},
	} {
		got, c := connectFaults(t, tt.block)
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") || strings.Contains(got, "secret") || strings.Contains(got, token) {
			t.Errorf("connect block %s: found the faults %q, want %q", tt.block, got, tt.want)
		}
		if got != "" {
			continue
		}
		nc, err := c.dial(newDialing(t.Context(), slog.New(slog.DiscardHandler), nil))
		if err != nil {
			t.Errorf("%s is valid, and cannot be dialled: %v", tt.block, err)
			continue
		}
		nc.Close()
	}
}

// Names of sources are labels of metrics and begin the names of sessions, which are compared in lower case.
func TestNamesOfSources(t *testing.T) {
	for name, want := range map[string]bool{
		"kv": true, "Staff sessions": true, "a-b_c.d:e@f": true, "ü": true, strings.Repeat("a", 64): true,
		" ": false, " a": false, "a ": false, "a/b": false, `a"b`: false, `a\\b`: false, "a\nb": false, "a{b}": false, strings.Repeat("a", 65): false,
	} {
		if isSourceName(name) != want {
			t.Errorf("isSourceName(%q) = %t, want %t", name, !want, want)
		}
	}
	got := faultsOf(t, "", `kind: anonymous, name: a}, {kind: anonymous, name: A`, false)
	if !strings.Contains(got, `the name "A" is taken by the source at configuration:`) {
		t.Errorf("expected a fault for names that differ only in case; found %q", got)
	}
}
