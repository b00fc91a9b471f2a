package stored

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Errors of invalid content. They do not quote it.
var (
	ErrTooLong   = fmt.Errorf("content of the session is longer than %d bytes", MaxContent)
	ErrNotObject = errors.New("content of the session is not a JSON object")
)

// DefaultExpiresField is the field of a session that has its end, unless the
// configuration names another one.
const DefaultExpiresField = "expires"

// Object decodes content, which must be a JSON object.
func Object(content []byte) (map[string]any, error) {
	if len(content) > MaxContent {
		return nil, ErrTooLong
	}
	var data map[string]any
	// The error of encoding/json is dropped, because it may quote the content.
	if json.Unmarshal(content, &data) != nil || data == nil {
		return nil, ErrNotObject
	}
	return data, nil
}

// Expires returns the time in a field of the session: Unix seconds, as a number or as
// a string of digits, or a string in the format of RFC 3339. field may be a path such
// as cookie.expires. If the field is absent, null or false, the time is zero.
func Expires(data map[string]any, field string) (time.Time, error) {
	value := lookup(data, field)
	switch v := value.(type) {
	case nil:
		return time.Time{}, nil
	case bool: // express-session writes false for a cookie without an expiry
		if !v {
			return time.Time{}, nil
		}
	case float64:
		return seconds(v, field)
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return notZero(t), nil
		}
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return seconds(float64(n), field)
		}
	}
	return time.Time{}, fmt.Errorf("field %q of the session: expected a time in Unix seconds or RFC 3339", field)
}

// maxSeconds is the highest time that is accepted, in Unix seconds; it is in the year
// 5138. A higher number is most likely in milliseconds, and a session with it would
// practically never end.
const maxSeconds = 1e11

func seconds(v float64, field string) (time.Time, error) {
	if math.Abs(v) > maxSeconds {
		return time.Time{}, fmt.Errorf("field %q of the session: expected a time in Unix seconds; found a number that is too large; is it in milliseconds?", field)
	}
	whole, part := math.Modf(v)
	return notZero(time.Unix(int64(whole), int64(part*1e9))), nil
}

// notZero replaces Go's zero time, which would mean that the session does not end, by
// another time in the past.
func notZero(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0)
	}
	return t
}

// lookup returns the value of a field, which may be a path; nil if it is absent.
func lookup(data map[string]any, field string) any {
	if field == "" {
		return nil
	}
	if v, ok := data[field]; ok {
		return v
	}
	name, rest, ok := strings.Cut(field, ".")
	inner, isMap := data[name].(map[string]any)
	if !ok || !isMap {
		return nil
	}
	return lookup(inner, rest)
}

// Earlier returns the earlier of two ends of a session. A zero time means no end.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
