package claim

import (
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
)

func TestRedactPayload(t *testing.T) {
	inner := rawToken(`{"nats":{"headers":{"A":"SECRET"}}}`)
	tests := []struct{ name, payload, want string }{
		{"values", `{"nats":{"headers":{"A":"SECRET","B":["SECRET"],"C":{"value":"SECRET","subjects":["a"]}},"sub":{}}}`,
			`{"nats":{"headers":{"A":"***","B":"***","C":"***"},"sub":{}}}`},
		{"top level", `{"headers":{"A":"SECRET"},"x":1}`, `{"headers":{"A":"***"},"x":1}`},
		{"template", `{"nats":{"signing_keys":["A",{"template":{"headers":{"A":"SECRET"}}}]}}`,
			`{"nats":{"signing_keys":["A",{"template":{"headers":{"A":"***"}}}]}}`},
		{"white space", "{ \"headers\" : { \"A\" :\t\"SECRET\" } }", "{ \"headers\" : {\"A\":\"***\"} }"},
		{"twice", `{"headers":{"A":"SECRET","A":"SECRET"},"headers":{"B":"SECRET"}}`, `{"headers":{"A":"***","A":"***"},"headers":{"B":"***"}}`},
		{"case", `{"NATS":{"HeaderS":{"A":"SECRET"},"headerſ":{"B":"SECRET"}}}`, `{"NATS":{"HeaderS":{"A":"***"},"headerſ":{"B":"***"}}}`},
		{"id", `{"jti":"HASH","headers":{"A":"SECRET"}}`, `{"jti":"***","headers":{"A":"***"}}`},
		{"id without the claim", `{"jti":"HASH","headers":{}}`, `{"jti":"HASH","headers":{}}`},
		{"look-alike", `{"nats":{"header":{"A":"SECRET"},"Header_s":"SECRET","x":[{"headersX":["SECRET"]}]},"HEADERS2":1}`,
			`{"nats":{"header":{"A":"***"},"Header_s":"***","x":[{"headersX":"***"}]},"HEADERS2":"***"}`},
		{"look-alike in a scope", `{"nats":{"signing_keys":[{"headers":{"A":"SECRET"},"template":{"header":{"A":"SECRET"}}}]}}`,
			`{"nats":{"signing_keys":[{"headers":{"A":"***"},"template":{"header":{"A":"***"}}}]}}`},
		{"permissions", `{"header_permissions":{"publish":{"allow":["A"]},"headers":{"A":"SECRET"}}}`, `{"header_permissions":{"publish":{"allow":["A"]},"headers":{"A":"***"}}}`},
		{"subjects", `{"nats":{"mappings":{"header.a":[{"subject":"b"}],"headers":[{"subject":"b"}],"mappings":{"header":"x"}}}}`,
			`{"nats":{"mappings":{"header.a":[{"subject":"b"}],"headers":"***","mappings":{"header":"x"}}}}`},
		{"subjects alone", `{"nats":{"mappings":{"header.a":[{"subject":"b"}]}}}`, `{"nats":{"mappings":{"header.a":[{"subject":"b"}]}}}`},
		{"mappings in a list", `{"mappings":[{"header":"SECRET","headers":"SECRET"}]}`, `{"mappings":[{"header":"***","headers":"***"}]}`},
		{"escaped", `{"h\u0065aders":{"\u0041":"SECRET"}}`, `{"h\u0065aders":{"A":"***"}}`},
		{"list", `{"headers":["SECRET"]}`, `{"headers":"***"}`},
		{"string", `{"headers":"SECRET"}`, `{"headers":"***"}`},
		{"number", `{"headers":4711}`, `{"headers":"***"}`},
		{"empty", `{"headers":{}}`, `{"headers":{}}`},
		{"headers as a value", `{"a":"headers","b":["headers",{"c":"x"}]}`, `{"a":"headers","b":["headers",{"c":"x"}]}`},
		{"a JWT inside", `{"nats":{"jwt":"` + inner + `"}}`, `{"nats":{"jwt":"` + Redact(inner) + `"}}`},
		{"an object for a JWT", `{"jwt":{"headers":{"A":"SECRET"},"jwt":{"headers":"SECRET"}}}`, `{"jwt":{"headers":{"A":"***"},"jwt":{"headers":"***"}}}`},
		{"no JWT inside", `{"nats":{"jwt":"","x":{"jwt":null}}}`, `{"nats":{"jwt":"","x":{"jwt":null}}}`},
	}
	for _, tt := range tests {
		token := rawToken(tt.payload)
		got := Redact(token)
		if got == "" || rawPayload(t, got) != tt.want {
			t.Errorf("%s: payload is not the one wanted", tt.name)
			continue
		}
		changed := tt.payload != tt.want
		if (got != token) != changed || changed != strings.HasSuffix(got, ".") {
			t.Errorf("%s: unchanged must be unchanged, changed must lose its signature", tt.name)
		}
	}
}

func TestRedactNoToken(t *testing.T) {
	for _, s := range []string{"", "a", "a.b.c", "SECRET.SECRET.SECRET", "e30.e30", "e30.e30.x.y", rawToken(""), rawToken("[]"),
		rawToken(`"SECRET"`), rawToken(`{"headers":{"A":"SECRET"}`), rawToken(`{"headers":{"A":"SECRET"}} {}`), "AAAA.e30.e30", "e30.e3\n0.e30",
		rawToken(strings.Repeat(`{"a":`, 1_000_000))} {
		if got := Redact(s); got != "" {
			t.Errorf("%.40q is no token, but %d bytes of it are left", s, len(got))
		}
	}
}

// TestRedactSigned: the other claims of the user can still be read.
func TestRedactSigned(t *testing.T) {
	user := newUser(t)
	user.Name = "alice"
	token := encode(t, user, one("Session", "SECRET"))
	got := Redact(token)
	if strings.Contains(rawPayload(t, got), "SECRET") || !strings.Contains(rawPayload(t, got), `"name":"alice"`) {
		t.Error("a value is left, or the rest is not")
	}
	if _, err := jwt.DecodeUserClaims(got); err == nil {
		t.Error("the redacted token passes for signed")
	}
	if plain := encode(t, user, nil); Redact(plain) != plain {
		t.Error("a token without the claim is changed")
	}
}

func TestRedactText(t *testing.T) {
	secret := rawToken(`{"headers":{"A":"SECRET"}}`)
	clean := Redact(secret)
	plain := rawToken(`{"sub":"x"}`)
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"no token", "no token"},
		{secret, clean},
		{`ACCOUNT|` + secret, `ACCOUNT|` + clean},
		{`{"jwt":"` + secret + `","other":"` + plain + `"}`, `{"jwt":"` + clean + `","other":"` + plain + `"}`},
		{secret + "\n" + secret, clean + "\n" + clean},
		{secret[:len(secret)-20], "***"},
		{"cut off: " + secret[:strings.IndexByte(secret, '.')], "cut off: ***"},
		{"base64 of an object: eyJhIjoxfQ==.", "base64 of an object: eyJhIjoxfQ==."},
		{"x" + secret + "!" + secret, "x" + clean + "!" + clean},
	} {
		if got := string(RedactText([]byte(tt.text))); strings.Contains(got, "SECRET") || got != tt.want {
			t.Errorf("a text of %d bytes becomes one of %d, want %d", len(tt.text), len(got), len(tt.want))
		}
	}
}

// A JWT without anything to mask is returned as it is, and a broken one is not, also where no key makes Redact read it.
func TestRedactWithoutKeys(t *testing.T) {
	for _, tt := range []struct {
		payload string
		ok      bool
	}{
		{`{"nats":{"tags":["a"]},"jti":"X"}`, true},
		{` {} `, true},
		{`{"nats":{}`, false},
		{`{} {}`, false},
		{`[]`, false},
		{`"x"`, false},
		{``, false},
	} {
		token := rawToken(tt.payload)
		want := ""
		if tt.ok {
			want = token
		}
		if got := Redact(token); got != want {
			t.Errorf("Redact of a JWT with the payload %q = %q, want %q", tt.payload, got, want)
		}
	}
}
