package callout

import (
	"strings"
	"testing"

	"stamp/internal/conf"
)

// The faults of a source have its place, also if an earlier source cannot be read.
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
			t.Errorf("expected %q in:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if (strings.Contains(line, "the address of session source") || strings.Contains(line, "the bucket, or")) && !strings.HasPrefix(line, "configuration:5:") {
			t.Errorf("the fault is at another place than configuration:5: %s", line)
		}
	}
}

// If sessions is no list, that is a fault, and the checks that follow do not panic.
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
			t.Errorf("sessions: %s was accepted", text)
		}
	}
}
