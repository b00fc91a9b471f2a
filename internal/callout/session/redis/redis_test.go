package redis

import (
	"strings"
	"testing"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

func parse(t testing.TB, text string) (*Config, error) {
	t.Helper()
	n, err := conf.ParseString(text)
	if err != nil {
		t.Fatalf("the configuration %s of this test cannot be read: %v", text, err)
	}
	var faults conf.Faults
	opener := Parse(n, &faults)
	return opener.(*Config), faults.Err()
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, fault string }{
		{`kind: redis, url: "redis://localhost"`, ""},
		{`kind: redis, url: "redis://app:s3cret@localhost:6380/3", form: spring, decode: base64`, ""},
		{`kind: redis, url: "rediss://:s3cret@[::1]:6380", tls: {server_name: x}`, ""},
		{`kind: redis, url: "unix:///run/redis.sock?db=2", username: app, password: s3cret`, ""},
		{`kind: redis, url: "redis://h", signed_cookie: {secret: s3cret, secrets: [older]}, decode: percent`, ""},
		{`kind: redis`, `field "url" is missing`},
		{`kind: redis, url: "localhost:6379"`, "url: expected redis://host"},
		{`kind: redis, url: "http://s3cret@localhost"`, "url: expected redis://host"},
		{`kind: redis, url: "redis://"`, "url: expected redis://host"},
		{`kind: redis, url: "redis://:s3cret@h:port"`, "url: expected redis://host"},
		{`kind: redis, url: "redis://h/s3cret"`, "expected a number as the database"},
		{`kind: redis, url: "redis://h?password=s3cret"`, "unknown parameter"},
		{`kind: redis, url: "redis://s3cret@h"`, "expected a password for the user name"},
		{`kind: redis, url: "redis://h", tls: {ca: x}`, "expected a url that begins with rediss://"},
		{`kind: redis, url: "rediss://h", tls: {ca: "/nowhere.pem"}`, "no such file"},
		{`kind: redis, url: "rediss://h", tls: {cert: "/nowhere.pem", key: "/nowhere.pem"}`, "no such file"},
		{`kind: redis, url: "rediss://h", tls: {cert: "/nowhere.pem"}`, "tls: expected both cert and key, or neither; found one"},
		{`kind: redis, url: "redis://h", key: "sess"`, "key: expected a text with"},
		{`kind: redis, url: "redis://h", form: list`, "form: expected one of json"},
		{`kind: redis, url: "redis://h", decode: hex`, "decode: expected one of percent"},
		{`kind: redis, url: "redis://h", form: json, json_fields: true`, "only hashes have fields"},
		{`kind: redis, url: "redis://h", signed_cookie: {}`, "expected secret, secret_file or secrets"},
		{`kind: redis, url: "redis://h", signed_cookie: {secret: s3cret, format: rails}`, "format: expected one of"},
	} {
		_, err := parse(t, c.text)
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: found error %v, want %q", c.text, err, c.fault)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the fault holds a secret: %v", c.text, err)
		}
	}
}

func TestKey(t *testing.T) {
	// From the README of cookie-signature.
	const signed = "hello.DGDUkGlIkCzPz+C0B064FNgHdEjox7ch8tOBGslZ5QI"
	const byExpress = `, decode: percent, signed_cookie: {secret: newest, secrets: [tobiiscool, older]}`
	for _, c := range []struct{ fields, credential, want string }{
		{"", "abc-_.~+/=", "sess:abc-_.~+/="},
		{"", "", ""},
		{"", "a b", ""},
		{"", "a:b", ""},
		{"", "a\r\nDEL x", ""},
		{"", "a\x00", ""},
		{"", "a\x7f", ""},
		{"", "ä", ""},
		{"", "\xff", ""},
		{"", strings.Repeat("a", 1025), ""},
		{byExpress, "s:" + signed, "sess:hello"},
		{byExpress, "s%3Ahello.DGDUkGlIkCzPz%2BC0B064FNgHdEjox7ch8tOBGslZ5QI", "sess:hello"},
		{byExpress, "s%3Ahello.DGDUkGlIkCzPz%2BC0B064FNgHdEjox7ch8tOBGslZ5QJ", ""},
		{byExpress, "s%3Ahellp.DGDUkGlIkCzPz%2BC0B064FNgHdEjox7ch8tOBGslZ5QI", ""},
		{byExpress, "s%3Ahello.", ""},
		{byExpress, "s%3Ahello", ""},
		{byExpress, signed, ""},
		{byExpress, "hello", ""},
		{byExpress, "s%3", ""},
		{`, signed_cookie: {secret: tobiiscool, format: fastify}`, signed, "sess:hello"},
		{`, signed_cookie: {secret: tobiiscool, format: fastify}`, "s:" + signed, ""},
		{`, signed_cookie: {secret: tobiiscool, format: fastify}`, "hello", ""},
		{`, signed_cookie: {secret: luna}`, "s:" + signed, ""},
		{`, decode: percent`, "a%2fb%2B+", "sess:a/b++"},
		{`, decode: percent`, "a%3ab", ""},
		{`, decode: percent`, "a%00", ""},
		{`, decode: percent`, "a%", ""},
		{`, decode: base64`, "NTlkMWYx", "sess:59d1f1"},
		{`, decode: base64`, "NTlkMWYxMQ==", "sess:59d1f11"},
		{`, decode: base64`, "NTlkMWYxMQ", "sess:59d1f11"},
		{`, decode: base64`, "NTlkMWYxMR==", ""}, // bits that say nothing
		{`, decode: base64`, "AAA=", ""},
		{`, decode: base64`, "not base64", ""},
		{`, key: "a:{{credential}}:b"`, "x", "a:x:b"},
	} {
		cfg, err := parse(t, `kind: redis, url: "redis://h"`+c.fields)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []session.Kind{session.Cookie, session.Token, session.Password} {
			got, ok := (&source{cfg: cfg}).Accepts(&session.Request{Credential: session.Credential{Kind: kind, Value: c.credential}})
			if want := c.want; kind == session.Password && ok || kind != session.Password && (got != want || ok != (want != "")) {
				t.Errorf("%s: %s %q leads to key %q, accepted: %v; want %q", c.fields, kind, c.credential, got, ok, want)
			}
		}
	}
}

// FuzzKey: no credential leads to a key that is not the template with one part
// put in.
func FuzzKey(f *testing.F) {
	for _, s := range []string{"abc", "a:b", "a%3Ab", "czpi", "s:a.b", "\r\n", "\x00"} {
		f.Add(s)
	}
	var configs []*Config
	for _, how := range []string{"", "percent", "base64"} {
		cfg, err := parse(f, `kind: redis, url: "redis://h", key: "a:{{ credential }}:b", decode: "`+how+`"`)
		if err != nil {
			f.Fatal(err)
		}
		configs = append(configs, cfg)
	}
	f.Fuzz(func(t *testing.T, credential string) {
		for _, cfg := range configs {
			key, ok := cfg.key(credential)
			parts := strings.Split(key, ":")
			if ok && (len(parts) != 3 || parts[0] != "a" || parts[1] == "" || parts[2] != "b" || strings.ContainsAny(key, " \r\n\t\x00")) {
				t.Errorf("decode: %s: the key is %q, which is not the template with one part put in", cfg.Decode, key)
			}
		}
	})
}
