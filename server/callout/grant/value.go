package grant

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"stamp/server/field"
)

// maxExact is the first whole number from which a float64, which is what JSON's
// numbers become, may stand for another one than was written.
const maxExact = 1 << 53

// outputs returns what an expression gives as texts: one, or those of a list. The
// reason tells why it cannot, without the value.
func outputs(v any) (texts []string, reason string) {
	switch v := v.(type) {
	case []any:
		texts = make([]string, len(v))
		for i, e := range v {
			if texts[i], reason = scalar(e); reason != "" {
				return nil, "has an element that " + reason
			}
		}
		return texts, ""
	case []string:
		return v[:len(v):len(v)], ""
	}
	text, reason := scalar(v)
	if reason != "" {
		return nil, reason
	}
	return []string{text}, ""
}

// isList tells whether outputs takes the value for a list.
func isList(v any) bool {
	switch v.(type) {
	case []any, []string:
		return true
	}
	return false
}

// scalar writes a string, a whole number, or true or false.
func scalar(v any) (text, reason string) {
	switch v := v.(type) {
	case string:
		return v, ""
	case bool:
		return strconv.FormatBool(v), ""
	case int:
		return strconv.Itoa(v), ""
	case int64:
		return strconv.FormatInt(v, 10), ""
	case float64:
		if v != math.Trunc(v) || math.Abs(v) >= maxExact {
			return "", "is a number that is not whole, or too large to be exact"
		}
		return strconv.FormatInt(int64(v), 10), ""
	case json.Number:
		if _, err := v.Int64(); err != nil {
			return "", "is a number that is not whole, or too large to be exact"
		}
		return v.String(), ""
	case nil:
		return "", "is absent"
	case map[string]any:
		return "", "is an object, not a text, number or boolean"
	case []any, []string:
		return "", "is a list"
	}
	return "", "is not a text, number or boolean"
}

// maxToken is how long a token made by an expression may be, in bytes.
const maxToken = 256

// isToken is the rule for parts of subjects: nothing in them separates tokens,
// is a wildcard, or cannot be seen. Where it begins the subject it is not for
// the server's own ($SYS, $JS) or the inboxes' (_INBOX) names.
func isToken(v string, first bool) string {
	if reason := printable(v); reason != "" {
		return reason
	}
	if strings.ContainsAny(v, ".*> ") {
		return "holds '.', '*', '>' or a space, and must be one token of a subject"
	}
	if first && (v[0] == '$' || v[0] == '_') {
		return "begins with '$' or '_', as names of the server's own do"
	}
	return ""
}

// printable is the rule for names.
func printable(v string, _ ...bool) string {
	switch {
	case v == "":
		return "is empty"
	case len(v) > maxToken:
		return "is longer than " + strconv.Itoa(maxToken) + " bytes"
	case !utf8.ValidString(v):
		return "is not valid UTF-8"
	case strings.Contains(v, "{{"):
		return "holds {{"
	}
	for _, r := range v {
		switch {
		case r == utf8.RuneError:
			return undecodable
		case !visible(r):
			return "holds a character that cannot be seen"
		}
	}
	return ""
}

// undecodable: JSON's decoders write U+FFFD for what they cannot decode, such as half of a surrogate
// pair. It stands for many texts, so that two users could become one.
const undecodable = "holds U+FFFD, which stands for a character that could not be decoded"

// visible tells whether a character can be seen, or is the space. Letters that show nothing (U+115F,
// U+3164) and the empty braille pattern are printable to package unicode.
func visible(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r != 0x7f
	}
	return unicode.IsPrint(r) && r != '\u2800' &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// reservedTag is why a tag is refused.
const reservedTag = `begins with "stamp-", as the tags do by which the server knows the session of a connection`

// isName is the rule for user names and tags.
func isName(v string, _ bool) string {
	if reason := printable(v); reason != "" {
		return reason
	}
	if v[0] == ' ' || v[len(v)-1] == ' ' {
		return "begins or ends with a space"
	}
	return ""
}

// isValue is the rule for header values. Templates of the server begin with {{:
// a session does not bring any.
func isValue(v string, _ bool) string {
	if v == "" {
		return "is empty"
	}
	if strings.Contains(v, "{{") {
		return "holds {{"
	}
	clean, err := field.CleanValue(v)
	switch {
	case err != nil:
		return strings.Replace(err.Error(), "value ", "", 1)
	case clean != v:
		return "begins or ends with white space"
	case strings.ContainsRune(v, utf8.RuneError):
		return undecodable
	case !strings.ContainsFunc(v, seen):
		return "holds no character that can be seen"
	}
	return ""
}

func seen(r rune) bool { return r != ' ' && visible(r) }
