package redis

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
)

// Errors of an invalid value. They do not quote it.
var (
	errType   = errors.New("redis: the value of the key is of another type than the field form says")
	errAnswer = errors.New("redis: unexpected answer of the server")
)

// read returns the session in the server's answers.
func (c *Config) read(a answers, now time.Time) (*session.Session, error) {
	if a.reads > 0 && a.wrongTypes == a.reads {
		return nil, errType
	}
	if a.ttl == -2 || a.ttl == 0 || a.text == nil && len(a.fields) == 0 {
		return nil, session.ErrUnknown
	}
	if a.ttl < -2 || len(a.fields)%2 != 0 {
		return nil, errAnswer
	}
	var ttl time.Time
	if a.ttl > 0 {
		ttl = now.Add(time.Duration(min(a.ttl, maxTTL)) * time.Millisecond)
	}
	data, expires, err := c.content(a, c.expiresField(ttl))
	if err != nil {
		return nil, err
	}
	return &session.Session{Data: data, Expires: stored.Earlier(expires, ttl)}, nil
}

// maxTTL bounds a TTL, in milliseconds, so that a time.Duration cannot overflow.
const maxTTL = int64(100*365*24*time.Hour) / int64(time.Millisecond)

// expiresField returns the field with the end of a session, or "" if only the TTL
// counts. The field cookie.expires of express-session may be stale: with resave: false,
// a request that does not change the session extends only the TTL. So if there is a
// TTL, such a field is ignored.
func (c *Config) expiresField(ttl time.Time) string {
	if !ttl.IsZero() && strings.HasPrefix(c.Expires, "cookie.") {
		return ""
	}
	return c.Expires
}

// content returns the content of a session, and the time in the field that has its end.
func (c *Config) content(a answers, field string) (map[string]any, time.Time, error) {
	if a.text != nil {
		data, err := stored.Object(a.text)
		if err != nil {
			return nil, time.Time{}, err
		}
		expires, err := stored.Expires(data, field)
		return data, expires, err
	}
	size := 0
	for _, part := range a.fields {
		if size += len(part); size > stored.MaxContent {
			return nil, time.Time{}, stored.ErrTooLong
		}
	}
	if c.Form == Spring {
		return spring(a.fields, field)
	}
	data := c.hash(a.fields)
	expires, err := stored.Expires(data, field)
	return data, expires, err
}

// hash returns the fields of a hash. It leaves out those that are not UTF-8.
func (c *Config) hash(fields [][]byte) map[string]any {
	data := make(map[string]any, len(fields)/2)
	for i := 0; i < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		if !utf8.Valid(name) || !utf8.Valid(value) {
			continue
		}
		var v any
		if c.JSONFields && json.Unmarshal(value, &v) == nil {
			data[string(name)] = v
			continue
		}
		data[string(name)] = string(value)
	}
	return data
}
