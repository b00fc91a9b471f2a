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

// Errors of content that is not understood. They hold nothing of it.
var (
	ErrTooLong   = fmt.Errorf("session is longer than %d bytes", MaxContent)
	ErrNotObject = errors.New("session is not a JSON object")
)

// Object decodes a JSON object.
func Object(content []byte) (map[string]any, error) {
	if len(content) > MaxContent {
		return nil, ErrTooLong
	}
	var data map[string]any
	// The error of encoding/json may quote the content.
	if json.Unmarshal(content, &data) != nil || data == nil {
		return nil, ErrNotObject
	}
	return data, nil
}

// Expires returns when a session ends by one of its fields: Unix seconds, as a
// number or decimal digits, or a time as RFC 3339 writes it. A field that is absent, null or false
// says nothing: the time is zero. The field may be a path, such as cookie.expires.
func Expires(data map[string]any, field string) (time.Time, error) {
	value := lookup(data, field)
	switch v := value.(type) {
	case nil:
		return time.Time{}, nil
	case bool: // express-session writes false for a cookie without an end
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
	return time.Time{}, fmt.Errorf("field %q of the session is not a time: neither Unix seconds nor RFC 3339", field)
}

// maxSeconds is in the year 5138; a number above it counts milliseconds, and a
// session that ends then would in truth never end.
const maxSeconds = 1e11

func seconds(v float64, field string) (time.Time, error) {
	if math.Abs(v) > maxSeconds {
		return time.Time{}, fmt.Errorf("field %q of the session is no time in Unix seconds; is it in milliseconds?", field)
	}
	whole, part := math.Modf(v)
	return notZero(time.Unix(int64(whole), int64(part*1e9))), nil
}

// notZero keeps a time that happens to be Go's zero from being "does not end".
func notZero(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0)
	}
	return t
}

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

// Earlier returns the earlier of two ends, where zero is none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
