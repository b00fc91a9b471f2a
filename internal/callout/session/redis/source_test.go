package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
)

func TestFind(t *testing.T) {
	p := startRedis(t, "")
	future := time.Now().Add(time.Hour).Truncate(time.Second)
	p.do(t, "", "SET", "sess:json", `{"cookie":{"expires":null},"user":"alice"}`)
	p.do(t, "", "SET", "sess:ended", `{"expires":1000000000}`)
	p.do(t, "", "SET", "sess:broken", `{"user": s3cret`)
	p.do(t, "", "SET", "sess:array", `["s3cret"]`)
	p.do(t, "", "SET", "sess:empty", ``)
	p.do(t, "", "SET", "sess:huge", `{"s3cret":"`+strings.Repeat("x", stored.MaxContent)+`"}`)
	p.do(t, "", "HSET", "sess:hash", "user", "alice", "n", "42", "list", `["a"]`, "bytes", "\xff", "expires", fmt.Sprint(future.Unix()))
	p.do(t, "", "HSET", "sess:hugehash", "s3cret", strings.Repeat("x", stored.MaxContent))
	p.do(t, "", "RPUSH", "sess:list", "s3cret")
	const known, unknown, unsure = 0, 1, 2
	for _, c := range []struct {
		form, id string
		want     int
	}{
		{"auto", "json", known}, {"json", "json", known}, {"hash", "json", unsure}, {"spring", "json", unsure},
		{"auto", "hash", known}, {"hash", "hash", known}, {"json", "hash", unsure}, {"spring", "hash", unknown},
		{"auto", "list", unsure}, {"json", "list", unsure}, {"hash", "list", unsure},
		{"auto", "absent", unknown}, {"json", "absent", unknown}, {"hash", "absent", unknown}, {"spring", "absent", unknown},
		{"auto", "ended", unknown}, {"auto", "broken", unsure}, {"auto", "array", unsure}, {"auto", "empty", unsure},
		{"auto", "huge", unsure}, {"auto", "hugehash", unsure}, {"auto", "*", unknown}, {"auto", "", unknown},
	} {
		s := open(t, fmt.Sprintf("url: %q, form: %s", p.url(), c.form))
		found, err := find(t, s, c.id)
		got := unsure
		switch {
		case err == nil:
			got = known
		case errors.Is(err, session.ErrUnknown):
			got = unknown
		}
		if got != c.want {
			t.Errorf("form %s, session %s: found %v, error %v; want outcome %d", c.form, c.id, found, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || c.id != "" && strings.Contains(err.Error(), "sess:"+c.id)) {
			t.Errorf("%s %s: the error holds the content or key: %v", c.form, c.id, err)
		}
		if err != nil {
			continue
		}
		if found.Data["user"] != "alice" || found.Key != stored.SessionKey("sess:"+c.id) {
			t.Errorf("form %s, session %s: expected the session of alice; found %+v", c.form, c.id, found)
		}
		if c.id == "hash" && (!found.Expires.Equal(future) || found.Data["n"] != "42" || found.Data["bytes"] != nil) {
			t.Errorf("form %s, session %s: expected end, number and no bytes of the hash; found %+v", c.form, c.id, found)
		}
	}
	s := open(t, fmt.Sprintf("url: %q, json_fields: true", p.url()))
	found, err := find(t, s, "hash")
	if err != nil || found.Data["n"] != 42.0 || fmt.Sprint(found.Data["list"]) != "[a]" || found.Data["user"] != "alice" {
		t.Errorf("expected json_fields to be read as JSON; found %+v, error %v", found, err)
	}
}

func TestTTL(t *testing.T) {
	p := startRedis(t, "")
	p.do(t, "", "SET", "sess:a", `{}`, "EX", "600")
	p.do(t, "", "SET", "sess:b", fmt.Sprintf(`{"expires":%d}`, time.Now().Add(time.Minute).Unix()), "EX", "600")
	p.do(t, "", "SET", "sess:forever", `{}`)
	s := open(t, fmt.Sprintf("url: %q", p.url()))
	for id, want := range map[string]time.Duration{"a": 10 * time.Minute, "b": time.Minute} {
		found, err := find(t, s, id)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(found.Expires); left > want || left < want-timeout {
			t.Errorf("session %s lives for %v, want %v", id, left, want)
		}
	}
	if found, err := find(t, s, "forever"); err != nil || !found.Expires.IsZero() {
		t.Errorf("expected a session without an end; found %+v, error %v", found, err)
	}
	p.do(t, "", "DEL", "sess:a")
	if _, err := find(t, s, "a"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("deleted: %v; want it unknown", err)
	}
}

// TestGoneInBetween: a key may end between two answers of the server.
func TestGoneInBetween(t *testing.T) {
	cfg := &Config{Form: JSON}
	for ttl, ok := range map[int64]bool{-2: false, 0: false, -1: true, 1: true, 1 << 62: true} {
		found, err := cfg.read(answers{text: []byte(`{}`), ttl: ttl, reads: 1}, time.Now())
		if ok != (err == nil) || err != nil && !errors.Is(err, session.ErrUnknown) {
			t.Errorf("TTL %d: found %+v, error %v; want it accepted: %v", ttl, found, err, ok)
		}
		if err == nil && (ttl == -1) != found.Expires.IsZero() {
			t.Errorf("a TTL of %d gives the end %v", ttl, found.Expires)
		}
	}
}

// TestExpress reads what connect-redis writes, by the cookie that express-session
// sets.
func TestExpress(t *testing.T) {
	p := startRedis(t, "")
	p.do(t, "", "SET", "sess:hello", `{"cookie":{"originalMaxAge":86400000,"expires":"2999-01-01T00:00:00.000Z","httpOnly":true,"path":"/"},"user":"alice"}`, "EX", "86400")
	s := open(t, fmt.Sprintf(`url: %q, decode: percent, signed_cookie: {secret: tobiiscool}, expires: "cookie.expires"`, p.url()))
	found, err := find(t, s, "s%3Ahello.DGDUkGlIkCzPz%2BC0B064FNgHdEjox7ch8tOBGslZ5QI")
	if err != nil || found.Data["user"] != "alice" || time.Until(found.Expires) > 24*time.Hour {
		t.Errorf("expected the session of alice, for a day at most; found %+v, error %v", found, err)
	}
	if _, err := find(t, s, "s%3Ahello.AGDUkGlIkCzPz%2BC0B064FNgHdEjox7ch8tOBGslZ5QI"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("forged: %v; want it unknown", err)
	}
}

func TestSpringSession(t *testing.T) {
	p := startRedis(t, "")
	now := time.Now()
	p.do(t, "", "HSET", "spring:session:sessions:59d1f1", "creationTime", fmt.Sprint(now.UnixMilli()),
		"lastAccessedTime", fmt.Sprintf(`["java.lang.Long",%d]`, now.UnixMilli()), "maxInactiveInterval", "1800",
		"sessionAttr:user", fromBase64(t, javaAlice), "sessionAttr:roles", `["java.util.ArrayList",["admin"]]`, "sessionAttr:removed", "")
	p.do(t, "", "EXPIRE", "spring:session:sessions:59d1f1", "2100")
	s := open(t, fmt.Sprintf(`url: %q, form: spring, decode: base64, key: "spring:session:sessions:{{ credential }}"`, p.url()))
	found, err := find(t, s, "NTlkMWYx")
	if err != nil {
		t.Fatal(err)
	}
	if found.Data["user"] != "alice" || fmt.Sprint(found.Data["roles"]) != "[admin]" || len(found.Data) != 2 {
		t.Errorf("the session has the data %v, want user and roles alone", found.Data)
	}
	if want := now.Add(30 * time.Minute).Truncate(time.Millisecond); !found.Expires.Equal(want) {
		t.Errorf("expires %v; want %v, not at the TTL of the key", found.Expires, want)
	}
	p.do(t, "", "HSET", "spring:session:sessions:59d1f1", "maxInactiveInterval", "0")
	if _, err := find(t, s, "NTlkMWYx"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("ended, but the key is there: %v; want it unknown", err)
	}
}

func TestLogin(t *testing.T) {
	p := startRedis(t, "--port", "--requirepass", "pa55")
	p.do(t, "pa55", "ACL", "SETUSER", "app", "on", ">s3cret", "~sess:*", "+get", "+hgetall", "+pttl", "+ping", "+select")
	p.do(t, "pa55", "SET", "sess:a", `{"db":0}`)
	address := fmt.Sprintf("127.0.0.1:%d", p.port)
	for _, c := range []struct {
		fields string
		ok     bool
	}{
		{`url: "redis://:pa55@` + address + `"`, true},
		{`url: "redis://app:s3cret@` + address + `/0"`, true},
		{`url: "redis://` + address + `", username: app, password: s3cret`, true},
		{`url: "redis://` + address + `"`, false},
		{`url: "redis://:s3cret@` + address + `"`, false},
		{`url: "redis://app:pa55@` + address + `"`, false},
		{`url: "redis://app:s3cret@` + address + `", key: "other:{{ credential }}"`, false},
		{`url: "redis://app:s3cret@` + address + `/99"`, false},
	} {
		found, err := find(t, open(t, c.fields), "a")
		if c.ok != (err == nil) || errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: found %v, error %v; want it accepted: %v", c.fields, found, err, c.ok)
		}
		if err != nil && (strings.Contains(err.Error(), "pa55") || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: the error holds the password: %v", c.fields, err)
		}
	}
}

func TestTLS(t *testing.T) {
	cert, key := writeCert(t)
	p := startRedis(t, "--tls-port", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
	p.do(t, "", "SET", "sess:a", `{}`)
	url := fmt.Sprintf("rediss://127.0.0.1:%d", p.port)
	for _, c := range []struct {
		tls string
		ok  bool
	}{
		{fmt.Sprintf("ca: %q, cert: %q, key: %q, server_name: localhost", cert, cert, key), true},
		{fmt.Sprintf("ca: %q, server_name: localhost", cert), false}, // no certificate of the client
		{fmt.Sprintf("ca: %q, cert: %q, key: %q", cert, cert, key), false},
		{fmt.Sprintf("cert: %q, key: %q, server_name: localhost", cert, key), false},
	} {
		_, err := find(t, open(t, fmt.Sprintf("url: %q, tls: {%s}", url, c.tls)), "a")
		if c.ok != (err == nil) || errors.Is(err, session.ErrUnknown) {
			t.Errorf("tls: {%s}: found error %v, want it accepted: %v", c.tls, err, c.ok)
		}
	}
}

// TestRestart: while the server is gone, the source cannot tell. When it is back, the old connection does no harm.
func TestRestart(t *testing.T) {
	p := startRedis(t, "")
	p.do(t, "", "SET", "sess:a", `{}`)
	s := open(t, fmt.Sprintf("url: %q", p.url()))
	if _, err := find(t, s, "a"); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if _, err := find(t, s, "a"); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("without a server: %v; want that it cannot tell", err)
	}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	p.do(t, "", "SET", "sess:a", `{}`)
	if _, err := find(t, s, "a"); err != nil {
		t.Errorf("the session was not found after the server came back: %v", err)
	}
	p.stop()
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	p.do(t, "", "SET", "sess:a", `{}`)
	if _, err := find(t, s, "a"); err != nil {
		t.Errorf("the session was not found after the server went and came back: %v", err)
	}
}

// TestAnswerText: the server's error may quote the command, so it must not be shown.
func TestAnswerText(t *testing.T) {
	p := startRedis(t, "", "--rename-command", "GET", "")
	s := open(t, fmt.Sprintf("url: %q, form: json", p.url()))
	_, err := find(t, s, "s3cret")
	if err == nil || errors.Is(err, session.ErrUnknown) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v; want an error without the credential", err)
	}
}
