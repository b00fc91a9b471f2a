package redis

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
)

// Errors of an entry that is not understood. They hold nothing of it.
var (
	errType   = errors.New("redis: the key has a value of another type than form says")
	errAnswer = errors.New("redis: unexpected answer")
)

// read makes a session of the server's answers.
func (c *Config) read(a answers, now time.Time) (*session.Session, error) {
	if a.asked > 0 && a.other == a.asked {
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
	data, expires, err := c.content(a, c.expires(ttl))
	if err != nil {
		return nil, err
	}
	return &session.Session{Data: data, Expires: stored.Earlier(expires, ttl)}, nil
}

// maxTTL keeps a duration from running over, in milliseconds.
const maxTTL = int64(100*365*24*time.Hour) / int64(time.Millisecond)

// expires is the field that says when a session ends. In the cookie that express-session keeps in a
// session it is of the time when the session was last changed: with resave: false, a request that changes
// nothing moves only the TTL of the key. So the TTL counts where there is one.
func (c *Config) expires(ttl time.Time) string {
	if !ttl.IsZero() && strings.HasPrefix(c.Expires, "cookie.") {
		return ""
	}
	return c.Expires
}

// content returns the fields of a session, and when the field field says that it ends.
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

// hash makes a map of the fields of a hash. Those that are not text are left out.
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
