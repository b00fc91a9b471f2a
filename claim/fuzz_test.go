package claim

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
)

func addPayloads(f *testing.F) {
	for _, p := range []string{
		inHeaders(`"Session":"0af3","Roles":["admin","ops"],"Auth":{"value":"x","subjects":["api.>","*"]}`),
		inNats(`"headers":{"A":" x\t"},"header_permissions":{"publish":{"allow":["A","X-*"]},"subscribe":{"allow":["*"]}}`),
		`{"headers":{"A":"\ud834\udd1e\ufffd"}}`, `{"headers":{"A":"\ud834"}}`, `{"nats":{"h\u0065aders":{"A":"x"}}}`,
		`{"nats":{"headers":{"A":"x"}},"nats":{"headers":{"A":"y"}}}`, `{"Nats":{"headerſ":{"A":"x"}}}`,
		`{"headers":{"A":["x",["y"]]}}`, `{"headers":{"A":null}} {}`, "{\"headers\":{\"A\":\"\xff\"}}",
		`{"headers":{},"header_permissions":{}}`, `{"headers":{"A":-0.1e+9,"B":[true,false,null]}}`,
	} {
		f.Add([]byte(p))
	}
}

// FuzzFromUserJWT: an accepted claim passes an independent check of the rules, is
// the same as encoding/json reads, and is unchanged by Encode.
func FuzzFromUserJWT(f *testing.F) {
	addPayloads(f)
	pair, _ := newAccount(f)
	user := newUser(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, c, err := fromUserPayload(data, Limits{})
		token := rawToken(string(data))
		alone, aloneErr := FromUserJWT(token, Limits{})
		both, lookalikes, bothErr := ReadUserJWT(token, Limits{})
		if !reflect.DeepEqual(both, alone) || (bothErr == nil) != (aloneErr == nil) {
			t.Fatalf("ReadUserJWT returns %+v, error %v; FromUserJWT %+v, error %v", both, bothErr, alone, aloneErr)
		}
		if want := Lookalikes(token); bothErr == nil && !slices.Equal(lookalikes, want) {
			t.Fatalf("ReadUserJWT returns the lookalikes %q; Lookalikes %q", lookalikes, want)
		}
		if err != nil {
			if c != nil || strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("an error and a claim, or more than one line")
			}
			return
		}
		sees := lenient(data)
		if !mayHoldClaim(data) && (c != nil || sees != nil) {
			t.Fatal("the quick look misses a claim")
		}
		if !same(c, sees) {
			t.Fatal("encoding/json reads another claim")
		}
		if c == nil {
			return
		}
		checkRules(t, c)
		token, err = Encode(user, c, pair)
		if err != nil {
			t.Fatalf("cannot encode the claim that was read: %v", err)
		}
		if again, err := FromUserJWT(token, Limits{}); err != nil || !same(again, c) {
			t.Fatalf("the claim that was read back is the same: %t; error %v", same(again, c), err)
		}
		if _, err := jwt.DecodeUserClaims(token); err != nil {
			t.Fatalf("upstream cannot read the user JWT: %v", err)
		}
	})
}

// FuzzReader: the reader accepts the texts that encoding/json accepts.
func FuzzReader(f *testing.F) {
	addPayloads(f)
	for _, s := range []string{"0", "-0", "01", "1.", "1e", "-", "1E-09", `"\x"`, `"\u00zz"`, "\"\t\"", "[1,]", "{,}", "nul", "", " ", "[}", `{"a"}`} {
		f.Add([]byte(s))
		f.Add([]byte(`{"a":[` + s + `]}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &reader{data: data}
		ok := r.skip() == nil && r.end() == nil
		if ok != json.Valid(data) {
			t.Fatalf("the reader says that the text is JSON: %t, encoding/json says %t", ok, !ok)
		}
		deep := &reader{data: data}
		_, err := deep.value(maxDepth)
		if got := err == nil && deep.end() == nil; got != ok && len(data) < maxNesting {
			t.Fatalf("value says that the text is JSON: %t, skip says %t", got, ok)
		}
		raw := &reader{data: data}
		if s, err := raw.rawString(); err == nil {
			var want string
			if err := json.Unmarshal(s, &want); err != nil || string(unquote(s)) != want {
				t.Fatalf("the reader accepts a string that encoding/json reads otherwise or not at all: error %v", err)
			}
			literal := strings.Count(string(s), "\ufffd") + strings.Count(strings.ToLower(string(s)), `\ufffd`)
			if !isUnicode(s) && !strings.Contains(want, "\ufffd") || isUnicode(s) && strings.Count(want, "\ufffd") > literal {
				t.Fatal("isUnicode misses a character that cannot be decoded, or finds one that is there literally")
			}
		}
	})
}

// planted is in the values of FuzzRedact's claims. It cannot appear by chance or
// by masking.
const planted = "pLaNtEd"

// FuzzRedact: no planted value remains, neither as text nor in base64.
func FuzzRedact(f *testing.F) {
	for _, key := range []string{"headers", "Headers", "h\\u0065aders", "headerſ"} {
		f.Add(`{"nats":{"`+key+`":`, `{"A":`, `,"B":1}`, `}}`)
		f.Add(`{"`+key+`":`, ``, ``, `,"x":[{"y":0}]}`)
		f.Add(`{"a":[{"nats":{"`+key+`" : `, `{"A":{"subjects":["a"],"value":[`, `]}} `, `}}]}`)
	}
	f.Fuzz(func(t *testing.T, head, open, closing, tail string) {
		if strings.Contains(head+open+closing+tail, planted) {
			return
		}
		data := head + open + `"` + planted + `"` + closing + tail
		token := rawToken(data)
		got := Redact(token)
		if got == "" {
			return
		}
		if !json.Valid([]byte(data)) {
			t.Fatal("a payload that is no JSON was redacted, and must give an empty text")
		}
		out := rawPayload(t, got)
		if !json.Valid([]byte(out)) {
			t.Fatal("the redacted token has no JSON")
		}
		if Redact(rawToken(out)) != rawToken(out) {
			t.Fatal("redacting a second time changes the result")
		}
		if c, err := FromUserJWT(token, Limits{}); err == nil && c != nil && leaks(c, out) {
			t.Fatal("a planted value is in the result")
		}
		if leaksAny(out) {
			t.Fatal("a planted value is under a headers key")
		}
	})
}

// leaks reports whether both the claim and out have the planted value, which is in
// the payload once.
func leaks(c *Claim, out string) bool {
	for _, h := range c.Headers {
		for _, v := range h.Values {
			if strings.Contains(v, planted) && strings.Contains(out, planted) {
				return true
			}
		}
	}
	return false
}

// leaksAny looks for the planted value under each key that is read as headers.
func leaksAny(out string) bool {
	var v any
	dec := json.NewDecoder(strings.NewReader(out))
	dec.UseNumber() // some numbers are too large for float64
	if dec.Decode(&v) != nil {
		return true
	}
	var walk func(v any, under bool) bool
	walk = func(v any, under bool) bool {
		switch v := v.(type) {
		case string:
			return under && strings.Contains(v, planted)
		case []any:
			for _, it := range v {
				if walk(it, under) {
					return true
				}
			}
		case map[string]any:
			for k, it := range v {
				if walk(it, under || strings.EqualFold(k, "headers")) {
					return true
				}
			}
		}
		return false
	}
	return walk(v, false)
}

// FuzzRedactToken: Redact takes any text without a panic, and a second Redact changes nothing.
func FuzzRedactToken(f *testing.F) {
	f.Add("e30.e30.e30")
	f.Add(rawToken(`{"jwt":"` + rawToken(`{"headers":{"A":"x"}}`) + `"}`))
	f.Fuzz(func(t *testing.T, token string) {
		once := Redact(token)
		if Redact(once) != once {
			t.Fatal("redacting a second time changes the result")
		}
		if once != "" && once != token {
			if _, err := base64.RawURLEncoding.DecodeString(strings.Split(once, ".")[1]); err != nil {
				t.Fatal("the redacted payload is no base64")
			}
		}
	})
}
