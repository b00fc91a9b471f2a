package callout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"stamp/internal/conf"
)

// faultsOf returns the faults of a block with this source. inside adds the checks of a handler inside the server.
func faultsOf(t *testing.T, request, source string, inside bool) string {
	t.Helper()
	n, err := conf.ParseString(fmt.Sprintf("%s\nsessions: [{%s}], grants: [{account: APP, publish: [], subscribe: []}]", request, source))
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	c := Parse(n, &faults)
	var text string
	if err := faults.Err(); err != nil {
		text = err.Error()
	}
	if inside {
		for _, err := range c.CheckInside() {
			if err != nil {
				text += err.Error()
			}
		}
	}
	return text
}

// TestCookiesOfSources: a cookie name is refused for a source that takes no cookie, and for a cookie that does not come to the
// handler.
func TestCookiesOfSources(t *testing.T) {
	const request = "request { cookies: [sid] }"
	const user = `users: [{user: a, password: "$2a$04$ZkGcLSqUqWLNGTGxOyLvGeVNFhZUmRxIVGGlAJ3GPPWDkRqRYxhvO"}]`
	for _, c := range []struct{ request, source, want string }{
		{request, "kind: anonymous, cookie: sid", "cookie: a source of kind anonymous accepts no cookies"},
		{request, "kind: users, cookie: sid, " + user, "cookie: a source of kind users accepts no cookies"},
		{request, "kind: nkey, cookie: sid, users: [{nkey: UA6KOMQ67XOE3FHE37W4OXADVXVYISBNLTBUT2LSY5VFKAIJ7CRDR2RZ}]", "cookie: a source of kind nkey accepts no cookies"},
		{request, "kind: jwt, cookie: sid, issuers: [AAMFN7VYNBIGFWQBNAADV42FJKUM3FUTMW37E4AOTDJNL63EE7ZS5WYO]", "cookie: a source of kind jwt accepts no cookies"},
		{request, "kind: kv, bucket: b, cookie: sid", ""},
		{request, "kind: kv, bucket: b, cookie: SID", `cookie: "SID" is not in request`},
		{"", "kind: kv, bucket: b, cookie: sid", `cookie: "sid" is not in request`},
		{"", "kind: kv, bucket: b", ""},
	} {
		if got := faultsOf(t, c.request, c.source, true); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("request %q with source %q: found the faults %q, want %q", c.request, c.source, got, c.want)
		}
	}
	if got := faultsOf(t, "", "kind: kv, bucket: b, cookie: sid", false); got != "" {
		t.Errorf("nats-callout, which cannot know what the server forwards, reports the fault %s", got)
	}
}

// TestEmptyFields: a required field that is empty counts as missing.
func TestEmptyFields(t *testing.T) {
	for source, field := range map[string]string{
		`kind: redis, url: ""`:                     "url",
		`kind: http, url: ""`:                      "url",
		`kind: introspection, url: "", auth: none`: "url",
		`kind: oidc, issuer: "", audience: a`:      "issuer",
		`kind: kv, bucket: ""`:                     "bucket",
	} {
		got := faultsOf(t, "", source, false)
		if want := fmt.Sprintf("field %q is empty", field); strings.Count(got, want) != 1 || strings.Contains(got, "\n") {
			t.Errorf("source %s: found the faults %q, want %q alone", source, got, want)
		}
	}
}

// TestCalloutTimeout: unless the block sets a timeout, the server waits for as long as the sources may take.
func TestCalloutTimeout(t *testing.T) {
	const two, seven = "kind: http, url: \"http://a.test\"", "kind: http, name: slow, url: \"http://a.test\", timeout: \"7s\""
	for _, tt := range []struct {
		block         string
		authorization time.Duration
		want          time.Duration
	}{
		{"sessions: [{" + two + "}]", 2 * time.Second, 3 * time.Second},
		{"sessions: [{" + seven + "}, {" + two + "}]", 2 * time.Second, 8 * time.Second},
		{"sessions: [{" + seven + "}]", time.Minute, time.Minute},
		{"sessions: [{" + seven + "}], timeout: \"1s\"", time.Minute, time.Second},
		{"sessions: [{" + strings.Replace(seven, "7s", "4m59.5s", 1) + "}]", 2 * time.Second, 5 * time.Minute},
		{"sessions: [{" + strings.Replace(seven, "7s", "10m", 1) + "}]", 2 * time.Second, 5 * time.Minute},
		{"sessions: [{" + strings.Replace(seven, "7s", "10m", 1) + "}]", 6 * time.Minute, 6 * time.Minute},
		{"timeout: 30", 2 * time.Second, 30 * time.Second},
		{"request {}", 2 * time.Second, 2 * time.Second},
	} {
		n, err := conf.ParseString(tt.block)
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		if got := Parse(n, &faults).CalloutTimeout(tt.authorization); got != tt.want {
			t.Errorf("%s with authorization.timeout %s: the server waits %s, want %s", tt.block, tt.authorization, got, tt.want)
		}
	}
	for text, want := range map[string]string{
		"0": "expected 100ms to 5m0s", `"50ms"`: "expected 100ms to 5m0s", `"301s"`: "expected 100ms to 5m0s", "-1": "timeout", `"1s"`: "",
	} {
		if got := faultsOf(t, "timeout: "+text, two, true); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("timeout: %s: found the faults %q, want %q", text, got, want)
		}
	}
	n, _ := conf.ParseString("timeout: 5")
	var faults conf.Faults
	(&Config{}).checkStandalone(n, &faults)
	if err := faults.Err(); err == nil || !strings.Contains(err.Error(), "timeout: belongs in the callout block of nats-server") {
		t.Errorf("expected nats-callout to refuse the field timeout; found %v", err)
	}
}
