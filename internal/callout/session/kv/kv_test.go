package kv

import (
	"strings"
	"testing"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

func TestKeyOf(t *testing.T) {
	long := strings.Repeat("a", 1025)
	for _, c := range []struct{ template, hash, credential, want string }{
		{"", "", "abc-DEF_0=/.x", "abc-DEF_0=/.x"},
		{"{{ credential }}", "", "abc", "abc"},
		{"{{.credential}}", "", "abc", "abc"},
		{"sess.{{ credential }}.web", "", "abc", "sess.abc.web"},
		{"", "sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"s.{{credential}}", "sha256", "any thing *>", "s.a0157ff9eebdd3cf7988114d28cd7d50d566876b53acbf0e9665c2809c01e966"},
		{"", "", "", ""},
		{"", "sha256", "", ""},
		{"", "", "*", ""},
		{"", "", ">", ""},
		{"", "", "a.*", ""},
		{"", "", "a.>", ""},
		{"", "", ".", ""},
		{"", "", ".a", ""},
		{"", "", "a.", ""},
		{"", "", "a..b", ""},
		{"x{{credential}}x", "", ".", ""},
		{"x{{credential}}x", "", ".a.", ""},
		{"", "", "a b", ""},
		{"", "", "a\r\nPUB x 0", ""},
		{"", "", "a\x00", ""},
		{"", "", "ä", ""},
		{"", "", "a%2e", ""},
		{"", "", long, ""},
		{"", "sha256", long, ""},
		{"", "md5", "abc", ""},
		{"fixed", "", "abc", ""},
	} {
		got, ok := KeyOf(c.template, c.hash, c.credential)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("KeyOf(%q, %q, %q) = %q, %v; want %q", c.template, c.hash, c.credential, got, ok, c.want)
		}
	}
}

// FuzzKeyOf: whatever the credential is, the key is one subject token or more,
// none empty or a wildcard, and has the template's literal parts at its ends.
func FuzzKeyOf(f *testing.F) {
	for _, s := range []string{"abc", "*", ">", "a.b", ".", "..", "a\r\n", "$JS", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, credential string) {
		for _, hash := range []string{"", SHA256} {
			key, ok := KeyOf("a.{{ credential }}.b", hash, credential)
			if !ok {
				continue
			}
			if !strings.HasPrefix(key, "a.") || !strings.HasSuffix(key, ".b") {
				t.Errorf("key %q lacks a literal part of the template", key)
			}
			for token := range strings.SplitSeq(key, ".") {
				if token == "" || strings.ContainsAny(token, "*> \t\r\n\x00") {
					t.Errorf("key %q has the token %q, which is empty or a wildcard", key, token)
				}
			}
		}
	})
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, fault string }{
		{`kind: kv, bucket: sessions`, ""},
		{`kind: kv, bucket: sessions, account: APP, key: "s.{{ credential }}", hash: sha256, expires: "cookie.expires"`, ""},
		{`kind: kv`, `field "bucket" is missing`},
		{`kind: kv, bucket: "a.b"`, "bucket: expected a name of letters, digits, - and _; found"},
		{`kind: kv, bucket: b, hash: md5`, "hash: expected sha256"},
		{`kind: kv, bucket: b, key: "fixed"`, "key: expected a text with {{ credential }} once"},
		{`kind: kv, bucket: b, key: "{{ credential }}{{ credential }}"`, "key: expected a text with {{ credential }} once"},
		{`kind: kv, bucket: b, key: "{{ session.id }}"`, "key: expected a text with {{ credential }} once"},
		{`kind: kv, bucket: b, key: "s:{{ credential }}"`, "key: expected letters"},
		{`kind: kv, bucket: b, key: ".{{ credential }}"`, "key: expected letters"},
		{`kind: kv, bucket: b, buckets: c`, `unknown field "buckets"`},
		{`kind: kv, bucket: b, timeout: 0`, "timeout: expected more than 0; found 0s"},
	} {
		n, err := conf.ParseString(c.text)
		if err != nil {
			t.Fatalf("the configuration %s of this test cannot be read: %v", c.text, err)
		}
		var faults conf.Faults
		opener := Parse(n, &faults)
		err = faults.Err()
		if c.fault == "" && (err != nil || opener.Common().Name != "kv") {
			t.Errorf("%s: expected a source named kv; found error %v, name %q", c.text, err, opener.Common().Name)
		}
		if c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: found error %v, want %q", c.text, err, c.fault)
		}
	}
}

func TestAccepts(t *testing.T) {
	s := &Source{cfg: &Config{template: mustTemplate(t, "")}}
	for _, kind := range []session.Kind{session.None, session.Cookie, session.Token, session.Password, session.Nkey, session.JWT} {
		_, ok := s.Accepts(&session.Request{Credential: session.Credential{Kind: kind, Value: "abc", Password: "abc", Nkey: "abc"}})
		if want := kind == session.Cookie || kind == session.Token; ok != want {
			t.Errorf("kind %s: accepted: %v, want %v", kind, ok, want)
		}
	}
}
