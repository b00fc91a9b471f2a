package grant

import (
	"encoding/json"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"stamp.example/claim/field"
)

// maxExact is the smallest whole number for which a float64 is not exact: from here on
// the number in the JSON of a session may have been another one.
const maxExact = 1 << 53

// maxInt limits integers in calculations. It is a quarter of what an int holds on 32 bits, so the sum of two integers
// below it that overflows is above it too, and is refused.
const maxInt = min(maxExact, 1<<(bits.UintSize-2))

// outputs converts the value of an expression to texts: one, or one for each element of a
// list. If it cannot, reason says why, without the value.
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

// isList reports whether outputs treats the value as a list.
func isList(v any) bool {
	switch v.(type) {
	case []any, []string:
		return true
	}
	return false
}

// scalar converts a string, a whole number or a boolean to a text.
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

// maxToken is the maximum length in bytes of a token or name that an expression gives.
const maxToken = 256

// checkToken is the rule for parts of subjects. The value is one token: it has no dot, no
// wildcard, no space and no invisible character. At the beginning of a subject it must
// not begin like the server's own subjects ($SYS, $JS) or inboxes (_INBOX).
func checkToken(v string, first bool) string {
	if reason := checkPrintable(v); reason != "" {
		return reason
	}
	if strings.ContainsAny(v, ".*> ") {
		return "holds '.', '*', '>' or a space; expected one token of a subject"
	}
	if first && (v[0] == '$' || v[0] == '_') {
		return "begins with '$' or '_', which are reserved for subjects of the server and inboxes"
	}
	return ""
}

// checkPrintable is the part of the rules for tokens and names that both have.
func checkPrintable(v string, _ ...bool) string {
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
			return "holds an invisible character"
		}
	}
	return ""
}

// undecodable is the reason for refusing a text with U+FFFD. A JSON decoder writes this
// character for anything that it cannot decode, such as half a surrogate pair. Different
// texts become equal that way, so that two users could become one.
const undecodable = "holds U+FFFD, which stands for a character that could not be decoded"

// visible reports whether a character is visible, or the space. The invisible letters
// U+115F and U+3164 and the empty braille pattern are printable according to package
// unicode.
func visible(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r != 0x7f
	}
	return unicode.IsPrint(r) && r != '\u2800' &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// reservedTag is the reason for refusing a tag.
const reservedTag = `begins with "stamp-", which is reserved for tags that name the session of a connection`

// checkName is the rule for user names and tags.
func checkName(v string, _ bool) string {
	if reason := checkPrintable(v); reason != "" {
		return reason
	}
	if v[0] == ' ' || v[len(v)-1] == ' ' {
		return "begins or ends with a space"
	}
	return ""
}

// checkValue is the rule for header values. A session must not bring in {{, with which
// templates of the server begin.
func checkValue(v string, _ bool) string {
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
	case !strings.ContainsFunc(v, visibleNotSpace):
		return "holds no visible character"
	}
	return ""
}

func visibleNotSpace(r rune) bool { return r != ' ' && visible(r) }
