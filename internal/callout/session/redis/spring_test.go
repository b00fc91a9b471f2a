package redis

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"stamp/internal/callout/session"
)

// As Java 17 writes them.
const (
	javaLong1    = "rO0ABXNyAA5qYXZhLmxhbmcuTG9uZzuL5JDMjyPfAgABSgAFdmFsdWV4cgAQamF2YS5sYW5nLk51bWJlcoaslR0LlOCLAgAAeHAAAAAAAAAAAQ=="
	javaInteger1 = "rO0ABXNyABFqYXZhLmxhbmcuSW50ZWdlchLioKT3gYc4AgABSQAFdmFsdWV4cgAQamF2YS5sYW5nLk51bWJlcoaslR0LlOCLAgAAeHAAAAAB"
	javaTrue     = "rO0ABXNyABFqYXZhLmxhbmcuQm9vbGVhbs0gcoDVnPruAgABWgAFdmFsdWV4cAE="
	javaAlice    = "rO0ABXQABWFsaWNl"
)

func fromBase64(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSpringValue(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{string(fromBase64(t, javaLong1)), "1"},
		{string(fromBase64(t, javaInteger1)), "1"},
		{string(fromBase64(t, javaTrue)), "true"},
		{string(fromBase64(t, javaAlice)), `"alice"`},
		{string(fromBase64(t, javaLong1)) + "x", ""},
		{string(fromBase64(t, javaAlice)) + "x", ""},
		{string(fromBase64(t, javaAlice))[:9], ""},
		{"\xac\xed\x00\x05p", ""},
		{"\xac\xed\x00\x05sr\x00\x03a.B", ""},
		{"\xac\xed\x00\x05t\x00\x02\xc0\x80", ""}, // NUL, in Java's UTF-8
		{"\xac\xed\x00\x05", ""},
		{"", ""},
		{"null", ""},
		{"bare", ""},
		{`"text"`, `"text"`},
		{`["java.lang.Long",1700000000000]`, "1700000000000"},
		{`["java.util.ArrayList",["a","b"]]`, `["a","b"]`},
		{`["java.util.Collections$UnmodifiableSet",["a"]]`, `["a"]`},
		{`["java.util.Evil","admin"]`, `["java.util.Evil","admin"]`},
		{`["a","b"]`, `["a","b"]`},
		{`{"@class":"com.example.User","id":["java.lang.Long",7]}`, `{"id":7}`},
	} {
		v, ok := springValue([]byte(c.raw))
		got, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if ok != (c.want != "") || ok && string(got) != c.want {
			t.Errorf("springValue(%q) = %s, %v; want %s", c.raw, got, ok, c.want)
		}
	}
}

func FuzzSpringValue(f *testing.F) {
	for _, text := range []string{javaLong1, javaInteger1, javaTrue, javaAlice} {
		f.Add(fromBase64(f, text))
	}
	f.Add([]byte(`["java.util.ArrayList",[["java.lang.Long",1]]]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, ok := springValue(raw)
		if _, err := json.Marshal(v); ok && (v == nil || err != nil) {
			t.Errorf("springValue(%q) returned %v, which is not JSON: %v", raw, v, err)
		}
	})
}

func TestSpring(t *testing.T) {
	accessed := time.UnixMilli(1_700_000_000_123)
	for _, c := range []struct {
		fields string
		ends   time.Time
		err    error
	}{
		{`{"creationTime":"1","lastAccessedTime":"1700000000123","maxInactiveInterval":"1800"}`, accessed.Add(30 * time.Minute), nil},
		{`{"creationTime":"1","lastAccessedTime":"1700000000123","maxInactiveInterval":"-1"}`, time.Time{}, nil},
		{`{"creationTime":"1","lastAccessedTime":"1700000000123","maxInactiveInterval":"1800","sessionAttr:expires":"1700000060"}`, time.Unix(1_700_000_060, 0), nil},
		{`{"lastAccessedTime":"1700000000123"}`, time.Time{}, session.ErrUnknown},
		{`{"sessionAttr:user":"\"alice\""}`, time.Time{}, session.ErrUnknown},
		{`{"creationTime":"1","lastAccessedTime":"1700000000123","maxInactiveInterval":"\"1800\""}`, time.Time{}, errSpring},
		{`{"creationTime":"1","lastAccessedTime":"1e300","maxInactiveInterval":"1800"}`, time.Time{}, errSpring},
		{`{"creationTime":"1","lastAccessedTime":"1","maxInactiveInterval":"1e300"}`, time.Time{}, errSpring},
	} {
		var object map[string]string
		if err := json.Unmarshal([]byte(c.fields), &object); err != nil {
			t.Fatal(err)
		}
		var fields [][]byte
		for name, value := range object {
			fields = append(fields, []byte(name), []byte(value))
		}
		_, ends, err := spring(fields, "expires")
		if !errors.Is(err, c.err) || err == nil && !ends.Equal(c.ends) {
			t.Errorf("fields %s: ends at %v, error %v; want %v, %v", c.fields, ends, err, c.ends, c.err)
		}
	}
}
