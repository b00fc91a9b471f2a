package callout

import (
	"strings"
	"testing"

	"stamp/internal/conf"
)

// Faults of a source have its place, also after one that cannot be read.
func TestPlacesOfSources(t *testing.T) {
	const login = `{kind: login, listen: "127.0.0.1:8090", bucket: b, public_url: "https://a.test", issuer: "https://p.test", client_id: c}`
	n, err := conf.ParseString("callout {\nsessions: [\n{kind: nope}\n" + login + "\n" + strings.Replace(login, "kind: login", "kind: login, name: two", 1) + "\n]\ngrants: [{account: APP, publish: [], subscribe: []}]\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	Parse(n.Get("callout"), &faults)
	text := faults.Err().Error()
	for _, want := range []string{"listen: the address of session source login too", "bucket: the bucket", "session source login (configuration:4:"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if (strings.Contains(line, "the address of session source") || strings.Contains(line, "the bucket, or")) && !strings.HasPrefix(line, "configuration:5:") {
			t.Errorf("another place: %s", line)
		}
	}
}

// Sessions that are no list are a fault, and end nothing.
func TestSessionsThatAreNoList(t *testing.T) {
	for _, text := range []string{
		`sessions: {kind: kv, bucket: b, account: A, cookie: c}`, `sessions: {kind: login, listen: "127.0.0.1:1", bucket: b}`,
		`sessions: x`, `sessions: [[{kind: kv, bucket: b, account: A, cookie: c}]]`, `sessions: 1`,
	} {
		n, err := conf.ParseString("callout {\n" + text + "\ngrants: [{account: APP, publish: [], subscribe: []}]\n}\n")
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		c := Parse(n.Get("callout"), &faults)
		c.checkStandalone(n, &faults)
		_ = c.CheckForwarded()
		if faults.Err() == nil {
			t.Errorf("%s: no fault", text)
		}
	}
}
