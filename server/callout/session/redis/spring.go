package redis

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
)

// Fields of a hash of Spring Session.
const (
	springCreated   = "creationTime"        // milliseconds since 1970
	springAccessed  = "lastAccessedTime"    // milliseconds since 1970
	springInactive  = "maxInactiveInterval" // seconds; negative: without end
	springAttribute = "sessionAttr:"        // begins the names of attributes
)

var errSpring = errors.New("redis: the times of the session are not understood; is it one of Spring Session?")

// spring makes a map of the attributes of a session of Spring Session, by its two
// ways to write values: as Java serializes them, and in JSON, maybe with types
// (GenericJackson2JsonRedisSerializer). Of Java's, strings, booleans and whole numbers are
// understood; attributes that are not understood are left out.
//
// The key lives longer than the session (by 5 minutes, in the indexed repository),
// so its end is told by its fields. A hash without them is what is left when a session was
// deleted while a request wrote to it, and to Spring as to us there is no such session.
func spring(fields [][]byte, expires string) (map[string]any, time.Time, error) {
	data := map[string]any{}
	times := map[string]float64{}
	for i := 0; i < len(fields); i += 2 {
		name := string(fields[i])
		value, ok := springValue(fields[i+1])
		if attribute, is := strings.CutPrefix(name, springAttribute); is && ok {
			data[attribute] = value
			continue
		}
		switch name {
		case springCreated, springAccessed, springInactive:
			n, isNumber := value.(float64)
			if !ok || !isNumber {
				return nil, time.Time{}, errSpring
			}
			times[name] = n
		}
	}
	if len(times) < 3 {
		return nil, time.Time{}, session.ErrUnknown
	}
	end, err := stored.Expires(data, expires)
	accessed, inactive := times[springAccessed], times[springInactive]
	if accessed < 0 || accessed > 1e15 || inactive > 1e15 { // it must not run over
		return nil, time.Time{}, errSpring
	}
	if inactive >= 0 {
		end = stored.Earlier(end, time.UnixMilli(int64(accessed)+int64(inactive)*1000))
	}
	return data, end, err
}

// springValue decodes a value; it is not ok when it is not understood, or null.
func springValue(raw []byte) (any, bool) {
	if text, ok := strings.CutPrefix(string(raw), "\xac\xed\x00\x05"); ok {
		return javaValue(text)
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil, false
	}
	v = untyped(v)
	return v, v != nil
}

// javaClass is the name of a class that Jackson writes before a value, in an
// array of the two.
var javaClass = regexp.MustCompile(`^java\.[a-z]+\.[A-Za-z.$]+$`)

// untyped takes off the types that Jackson writes round numbers and collections.
func untyped(v any) any {
	switch v := v.(type) {
	case []any:
		if len(v) == 2 {
			class, _ := v[0].(string)
			switch v[1].(type) {
			case float64, []any:
				if javaClass.MatchString(class) {
					return untyped(v[1])
				}
			}
		}
		for i := range v {
			v[i] = untyped(v[i])
		}
	case map[string]any:
		delete(v, "@class")
		for name := range v {
			v[name] = untyped(v[name])
		}
	}
	return v
}

// javaValue decodes what ObjectOutputStream writes for a String, Boolean,
// Integer or Long, after its header.
func javaValue(text string) (any, bool) {
	if rest, ok := strings.CutPrefix(text, "t"); ok { // TC_STRING
		s, rest, ok := javaText(rest)
		return s, ok && rest == ""
	}
	rest, ok := strings.CutPrefix(text, "sr") // TC_OBJECT, TC_CLASSDESC
	class, rest, named := javaText(rest)
	if !ok || !named {
		return nil, false
	}
	want, known := javaObjects[class]
	value, plain := strings.CutPrefix(rest, want.description)
	if !known || !plain || len(value) != want.size {
		return nil, false
	}
	switch b := []byte(value); want.size {
	case 1:
		return b[0] != 0, true
	case 4:
		return float64(int32(binary.BigEndian.Uint32(b))), true
	default:
		return float64(int64(binary.BigEndian.Uint64(b))), true
	}
}

// javaText reads a length of two bytes and so much text.
func javaText(s string) (text, rest string, ok bool) {
	if len(s) < 2 {
		return "", "", false
	}
	n := int(s[0])<<8 | int(s[1])
	if s = s[2:]; len(s) < n || !utf8.ValidString(s[:n]) {
		return "", "", false
	}
	return s[:n], s[n:], true
}

type javaObject struct {
	description string // of the class, after its name: version, flags, fields, superclass
	size        int    // of the value behind it
}

const javaNumber = "xr\x00\x10java.lang.Number\x86\xac\x95\x1d\x0b\x94\xe0\x8b\x02\x00\x00xp"

var javaObjects = map[string]javaObject{
	"java.lang.Long":    {"\x3b\x8b\xe4\x90\xcc\x8f\x23\xdf\x02\x00\x01J\x00\x05value" + javaNumber, 8},
	"java.lang.Integer": {"\x12\xe2\xa0\xa4\xf7\x81\x87\x38\x02\x00\x01I\x00\x05value" + javaNumber, 4},
	"java.lang.Boolean": {"\xcd\x20\x72\x80\xd5\x9c\xfa\xee\x02\x00\x01Z\x00\x05valuexp", 1},
}
