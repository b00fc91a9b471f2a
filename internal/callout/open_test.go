package callout

import (
	"strings"
	"testing"

	"stamp/internal/conf"
)

// Whoever writes an empty list means to accept nothing. It must not accept everything.
func TestEmptyLists(t *testing.T) {
	for text, want := range map[string]string{
		"credential: []":                       "credential: expected at least one of cookie, token, password, nkey, jwt, none; found an empty list; to accept all kinds, leave the field out",
		"only_from: [], queue_group: \"site\"": "only_from: expected at least one name of a cluster or server; found an empty list; to answer all, leave the field out",
		"credential: [none]":                   "",
	} {
		_, err := parseWithFaults(t, "\n\n"+text+"\nsessions: [{kind: anonymous}]")
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), "configuration:3:") || err != nil && !strings.HasSuffix(err.Error(), ": "+want) {
			t.Errorf("%s: found error %v, want %s at configuration:3", text, err, want)
		}
	}
}

// A fault is said once, and names the field that has it.
func TestFaultsOfValuesThatAreNoBlocks(t *testing.T) {
	for text, want := range map[string]string{
		"connect: here\nsessions: [{kind: anonymous}], grants: [{account: A, publish: [], subscribe: []}]":     "configuration:1:1: connect: expected a block; found a string",
		"connect {nkye: U}\nsessions: [{kind: anonymous}], grants: [{account: A, publish: [], subscribe: []}]": `configuration:1:10: connect: unknown field "nkye"; did you mean "nkey"?`,
		"sessions: [{kind: anonymous}], grants: APP":                                                           "configuration:1:32: grants: expected a list of blocks; found a string",
		"sessions: [{kind: anonymous}]":                                                                        `configuration:1:1: field "grants" is missing: without a grant every connection is refused`,
	} {
		n, err := conf.ParseString(text)
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		Parse(n, &faults)
		if err := faults.Err(); err == nil || err.Error() != want {
			t.Errorf("%s: expected one fault\n%s\ngot\n%v", text, want, err)
		}
	}
	n, err := conf.ParseString("callout: on")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	Parse(n.Get("callout"), &faults)
	if err := faults.Err(); err == nil || err.Error() != "configuration:1:1: callout: expected a block; found a boolean" {
		t.Errorf("expected that callout: on is no block; found %v", err)
	}
}

// A block that starts no handler is allowed, since the handler may be elsewhere. A warning reminds operators who have forgotten
// the sessions.
func TestBlocksWithoutHandler(t *testing.T) {
	for text, want := range map[string]string{
		"callout {}": "callout: the block is empty, so the server runs no handler",
		"callout {account: A, credential: [cookie]}":                "callout: there are no sessions, so the server runs no handler",
		"callout {request {cookies: [sid]}}":                        "",
		"callout {request {cookies: [sid]}, credential: [cookie] }": "callout: there are no sessions, so the server runs no handler",
	} {
		n, err := conf.ParseString(text)
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		got := strings.Join(Parse(n.Get("callout"), &faults).Warnings(), "\n")
		if faults.Err() != nil || (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("block %s: warnings %q, error %v; want %q", text, got, faults.Err(), want)
		}
	}
}

// Whoever can change what comes over plain HTTP decides who a connection is. The warning shows no URL, which may hold a password.
func TestPlainHTTP(t *testing.T) {
	const key = `listen: "127.0.0.1:8090", public_url: "https://app.example", client_id: app, bucket: b, key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`
	for source, want := range map[string]string{
		`kind: oidc, audience: a, issuer: "http://u:hush@login.example"`:                                    "issuer",
		`kind: oidc, audience: a, issuer: "https://login.example"`:                                          "",
		`kind: oidc, audience: a, issuer: "http://localhost:1"`:                                             "",
		`kind: oidc, audience: a, issuer: "https://login.example", jwks_url: "HTTP://login.example"`:        "jwks_url",
		`kind: oidc, audience: a, issuer: "https://login.example", discovery_url: "http://login.example/d"`: "discovery_url",
		`kind: login, issuer: "http://login.example", ` + key:                                               "issuer",
		`kind: login, issuer: "http://127.0.0.1:1", ` + key:                                                 "",
		`kind: login, issuer: "https://login.example", endpoints { token: "http://10.0.0.1/t" }, ` + key:    "token",
		`kind: introspection, auth: none, url: "http://login.example"`:                                      "url",
		`kind: introspection, auth: none, url: "https://login.example", issuer: "http://login.example"`:     "",
		`kind: http, url: "http://app.example/session"`:                                                     "url",
		`kind: http, url: "http://[::1]:8080/session"`:                                                      "",
	} {
		cfg, err := parseWithFaults(t, "account: AUTH, sessions: [{"+source+"}]")
		if err != nil {
			t.Errorf("source %s was refused: %v", source, err)
			continue
		}
		got := strings.Join(cfg.Warnings(), "\n")
		if (got == "") != (want == "") || want != "" && !strings.Contains(got, ": "+want+": expected https; found http on a host that is not this one: whoever") || strings.Contains(got, "hush") {
			t.Errorf("source %s: warnings %q, want one about %q without the URL's password", source, got, want)
		}
	}
}

// A user of the system account can close the connections of all accounts.
func TestGrantsOfTheSystemAccount(t *testing.T) {
	for grant, warns := range map[string]bool{
		`account: "$SYS", publish: [], subscribe: []`:                                      true,
		`account: "{{ session.a }}", accounts: [APP, "$SYS"], publish: [], subscribe: []`:  true,
		`account: APP, publish: [], subscribe: []`:                                         false,
		`account: "{{ session.a }}", accounts: [APP, "OTHER"], publish: [], subscribe: []`: false,
	} {
		n, err := conf.ParseString("sessions: [{kind: anonymous}], grants: [{" + grant + "}]")
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		cfg := Parse(n, &faults)
		if err := faults.Err(); err != nil {
			t.Errorf("grant %s was refused: %v", grant, err)
		}
		got := strings.Join(cfg.Warnings(), "\n")
		if want := `"$SYS" is the system account, whose users can close connections of all accounts`; strings.Contains(got, want) != warns {
			t.Errorf("grant %s: expected a warning about the system account: %t; found %q", grant, warns, got)
		}
	}
}
