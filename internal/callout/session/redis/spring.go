package redis

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
)

// Fields of a hash of Spring Session.
const (
	springCreated   = "creationTime"        // milliseconds since 1970
	springAccessed  = "lastAccessedTime"    // milliseconds since 1970
	springInactive  = "maxInactiveInterval" // seconds; negative: the session does not end
	springAttribute = "sessionAttr:"        // prefix of the names of attributes
)

var errSpring = errors.New("redis: expected creationTime, lastAccessedTime and maxInactiveInterval to be numbers; is the value one of Spring Session?")

// spring returns the attributes and the end of a session of Spring Session. Spring
// writes values in Java's serialization, or in JSON, which may have type information
// (GenericJackson2JsonRedisSerializer). Of Java's serialization it reads strings,
// booleans and whole numbers. Attributes with other values are left out.
//
// The key lives longer than the session, by 5 minutes in the indexed repository, so the
// fields with times say when the session ends. A hash without these fields is left over
// if a session is deleted while a request writes to it. Spring treats it as no session,
// and so does this function.
func spring(fields [][]byte, expires string) (map[string]any, time.Time, error) {
	data := map[string]any{}
	times := map[string]float64{}
	for i := 0; i < len(fields); i += 2 {
		name := string(fields[i])
		value, ok := springValue(fields[i+1])
		if attribute, isAttribute := strings.CutPrefix(name, springAttribute); isAttribute && ok {
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
	if accessed < 0 || accessed > 1e15 || inactive > 1e15 { // the sum below must not overflow
		return nil, time.Time{}, errSpring
	}
	if inactive >= 0 {
		end = stored.Earlier(end, time.UnixMilli(int64(accessed)+int64(inactive)*1000))
	}
	return data, end, err
}

// springValue decodes a value. ok is false if the value is null, or of a form that
// spring does not read.
func springValue(raw []byte) (value any, ok bool) {
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

// untyped returns a JSON value without the type information that Jackson writes: the
// list [class, value] around a number or list, and the field @class of an object.
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

// javaValue decodes a String, Boolean, Integer or Long in Java's serialization
// (ObjectOutputStream), without the header of the stream.
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

// javaText reads a string with its length in two bytes in front.
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

// javaObject is the serialized form of a class with one field.
type javaObject struct {
	description string // of the class, after its name: version, flags, fields, superclass
	size        int    // length in bytes of the value, which follows the description
}

const javaNumber = "xr\x00\x10java.lang.Number\x86\xac\x95\x1d\x0b\x94\xe0\x8b\x02\x00\x00xp"

var javaObjects = map[string]javaObject{
	"java.lang.Long":    {"\x3b\x8b\xe4\x90\xcc\x8f\x23\xdf\x02\x00\x01J\x00\x05value" + javaNumber, 8},
	"java.lang.Integer": {"\x12\xe2\xa0\xa4\xf7\x81\x87\x38\x02\x00\x01I\x00\x05value" + javaNumber, 4},
	"java.lang.Boolean": {"\xcd\x20\x72\x80\xd5\x9c\xfa\xee\x02\x00\x01Z\x00\x05valuexp", 1},
}
