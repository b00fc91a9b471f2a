package claim

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"stamp.example/claim/field"
)

// inNats puts members into the "nats" object of a payload.
func inNats(members string) string {
	return `{"sub":"U","nats":{"type":"user","version":2,` + members + `}}`
}

// inHeaders puts one header into the claim.
func inHeaders(members string) string { return inNats(`"headers":{` + members + `}`) }

func one(name string, values ...string) *Claim {
	return &Claim{Headers: []Header{{Name: name, Values: values}}}
}

func TestFromUserJWT(t *testing.T) {
	tests := []struct {
		name, payload string
		want          *Claim
	}{
		{"string", inHeaders(`"Session":"0af3"`), one("Session", "0af3")},
		{"list", inHeaders(`"Roles":["admin","ops"]`), one("Roles", "admin", "ops")},
		{"same value twice", inHeaders(`"Roles":["a","a"]`), one("Roles", "a", "a")},
		{"object", inHeaders(`"A":{"value":"x"}`), one("A", "x")},
		{"object with list", inHeaders(`"A":{"value":["x","y"]}`), one("A", "x", "y")},
		{"subjects", inHeaders(`"A":{"subjects":["api.>","a.*.b","x"],"value":"v"}`),
			&Claim{Headers: []Header{{"A", []string{"v"}, []string{"api.>", "a.*.b", "x"}}}}},
		{"order", inHeaders(`"B":"1","A":"2","C":"3"`),
			&Claim{Headers: []Header{{Name: "B", Values: []string{"1"}}, {Name: "A", Values: []string{"2"}}, {Name: "C", Values: []string{"3"}}}}},
		{"trimmed", inHeaders(`"A":"  a b\t"`), one("A", "a b")},
		{"escapes", inHeaders(`"\u0041":"\u0067\ud834\udd1e\/\"\\\\ud800"`), one("A", `g𝄞/"\\ud800`)},
		{"replacement character", inHeaders(`"A":"\ufffd","B":"�"`),
			&Claim{Headers: []Header{{Name: "A", Values: []string{"\ufffd"}}, {Name: "B", Values: []string{"\ufffd"}}}}},
		{"escaped key", `{"n\u0061ts":{"\u0068eaders":{"A":"x"}}}`, one("A", "x")},
		{"top level", `{"headers":{"A":"x"},"nats":{}}`, one("A", "x")},
		{"top level, no nats", `{"headers":{"A":"x"}}`, one("A", "x")},
		{"top level permissions", `{"header_permissions":{"publish":{"allow":["A"]}}}`, &Claim{Publish: []string{"A"}}},
		{"permissions", inNats(`"header_permissions":{"publish":{"allow":["A","X-*"]},"subscribe":{"allow":["*"]}}`),
			&Claim{Publish: []string{"A", "X-*"}, Subscribe: []string{"*"}}},
		{"template text", inHeaders(`"A":"{{name()}}"`), one("A", "{{name()}}")},
		{"white space", " {\n\"nats\" : { \"headers\" :\t{ \"A\" : [ \"x\" , \"y\" ] } }\r\n} \n", one("A", "x", "y")},
		{"none", inNats(`"pub":{"allow":["headers"]}`), nil},
		{"empty", inNats(`"headers":{}`), nil},
		{"empty permissions", inNats(`"header_permissions":{"publish":{},"subscribe":{"allow":[]}}`), nil},
		{"elsewhere", inNats(`"tags":["headers"],"x":{"headers":{"A":1}}`), nil},
		{"nats twice, no claim", `{"nats":{"x":"\u0041"},"nats":{},"Nats":{}}`, nil},
		{"nats of another type", `{"nats":["headers",{"headers":{}}]}`, nil},
		{"nats null", `{"nats":null,"x":"headers"}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FromUserJWT(rawToken(tt.payload), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if !same(got, tt.want) {
				t.Errorf("claim differs: names and values are not those wanted (%d headers)", count(got))
			}
		})
	}
}

// same compares claims; a nil slice is the same as an empty one.
func same(a, b *Claim) bool {
	if a == nil || b == nil {
		return a == b
	}
	eq := func(x, y []string) bool { return len(x) == 0 && len(y) == 0 || reflect.DeepEqual(x, y) }
	if len(a.Headers) != len(b.Headers) || !eq(a.Publish, b.Publish) || !eq(a.Subscribe, b.Subscribe) {
		return false
	}
	for i, h := range a.Headers {
		if o := b.Headers[i]; h.Name != o.Name || !eq(h.Values, o.Values) || !eq(h.Subjects, o.Subjects) {
			return false
		}
	}
	return true
}

func count(c *Claim) int {
	if c == nil {
		return 0
	}
	return len(c.Headers)
}

// TestRefused has every rule: the error, and the text that docs/claim.md shows.
// Values are "SECRET", which must not be in a text.
func TestRefused(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf(`"H%d":"SECRET"`, i)
	}
	long := `"A":["` + strings.Repeat(strings.Repeat("x", 1000)+`","`, 16) + `SECRET"]`
	tests := []struct {
		name, payload string
		want          error
		text          string
	}{
		{"payload is a list", `["headers"]`, ErrJSON, `JWT payload is not a valid JSON object: syntax error at byte 0`},
		{"syntax", `{"nats":{"headers":{"A":"SECRET",}}}`, ErrJSON, `JWT payload is not a valid JSON object: syntax error at byte 33`},
		{"trailing", inHeaders(`"A":"SECRET"`) + `{}`, ErrTrailing, `JWT payload has more text after its JSON object`},
		{"two places", `{"headers":{"A":"SECRET"},"nats":{"headers":{"A":"SECRET"}}}`, ErrTwoPlaces, `headers claim is both in the "nats" object and beside it; put it in one place`},
		{"two places, empty", `{"headers":{},"nats":{"headers":{}}}`, ErrTwoPlaces, ``},
		{"two places, permissions", `{"header_permissions":{},"nats":{"headers":{"A":"SECRET"}}}`, ErrTwoPlaces, ``},
		{"headers twice", inNats(`"headers":{"A":"SECRET"},"headers":{"A":"SECRET"}`), ErrKeyTwice, `duplicate key "headers"`},
		{"headers twice, escaped", inNats(`"headers":{"A":"SECRET"},"h\u0065aders":{}`), ErrKeyTwice, `duplicate key "headers"`},
		{"headers twice at the top", `{"headers":{"A":"SECRET"},"headers":{}}`, ErrKeyTwice, ``},
		{"nats twice", `{"nats":{"headers":{"A":"SECRET"}},"nats":{}}`, ErrKeyTwice, `duplicate key "nats"`},
		{"permissions twice", inNats(`"header_permissions":{},"header_permissions":{}`), ErrKeyTwice, ``},
		{"value twice", inHeaders(`"A":{"value":"SECRET","value":"SECRET"}`), ErrKeyTwice, `header "A": duplicate key "value"`},
		{"allow twice", inNats(`"header_permissions":{"publish":{"allow":["A"],"allow":["B"]}}`), ErrKeyTwice, `duplicate key "allow"`},
		{"Headers", inNats(`"Headers":{"A":"SECRET"}`), ErrKeyCase, `key must be spelled "headers"; found "Headers"`},
		{"HEADERS at the top", `{"HEADERS":{"A":"SECRET"}}`, ErrKeyCase, ``},
		{"headers with a long s", inNats(`"headerſ":{"A":"SECRET"}`), ErrKeyCase, ``},
		{"headers with a long s, escaped", inNats(`"header\u017f":{"A":"SECRET"}`), ErrKeyCase, ``},
		{"Nats", `{"Nats":{"headers":{"A":"SECRET"}}}`, ErrKeyCase, ``},
		{"nats with a long s", `{"nat\u017f":{"headers":{"A":"SECRET"}}}`, ErrKeyCase, ``},
		{"Header_Permissions", inNats(`"Header_Permissions":{}`), ErrKeyCase, ``},
		{"Value", inHeaders(`"A":{"Value":"SECRET"}`), ErrKeyCase, `header "A": key must be spelled "value"; found "Value"`},
		{"Subjects", inHeaders(`"A":{"value":"SECRET","Subjects":["a"]}`), ErrKeyCase, ``},
		{"Publish", inNats(`"header_permissions":{"Publish":{}}`), ErrKeyCase, ``},
		{"Subscribe", inNats(`"header_permissions":{"Subscribe":{}}`), ErrKeyCase, ``},
		{"Allow", inNats(`"header_permissions":{"publish":{"Allow":[]}}`), ErrKeyCase, ``},
		{"unknown key", inHeaders(`"A":{"value":"SECRET","subject":"a"}`), ErrKeyUnknown, `header "A": unknown key "subject"; expected value or subjects`},
		{"deny", inNats(`"header_permissions":{"publish":{"deny":["A"]}}`), ErrKeyUnknown, `unknown key "deny"; expected allow`},
		{"pub", inNats(`"header_permissions":{"pub":{}}`), ErrKeyUnknown, ``},
		{"headers null", inNats(`"headers":null`), ErrHeadersForm, `headers: expected an object; found null`},
		{"headers list", inNats(`"headers":["SECRET"]`), ErrHeadersForm, `headers: expected an object; found a list`},
		{"headers string", inNats(`"headers":"SECRET"`), ErrHeadersForm, ``},
		{"null", inHeaders(`"A":null`), ErrValueForm, `header "A": expected a string, a list of strings or an object with value and subjects; found null`},
		{"number", inHeaders(`"A":4711`), ErrValueForm, ``},
		{"boolean", inHeaders(`"A":true`), ErrValueForm, ``},
		{"number in list", inHeaders(`"A":["SECRET",1]`), ErrValueForm, ``},
		{"list in list", inHeaders(`"A":[["SECRET"]]`), ErrValueForm, `header "A": expected a string, a list of strings or an object with value and subjects; found a list in the list`},
		{"object in list", inHeaders(`"A":[{"value":"SECRET"}]`), ErrValueForm, ``},
		{"object in object", inHeaders(`"A":{"value":{"value":"SECRET"}}`), ErrInnerValueForm, `header "A": value: expected a string or a list of strings; found an object`},
		{"value null", inHeaders(`"A":{"value":null}`), ErrInnerValueForm, ``},
		{"no value", inHeaders(`"A":{"subjects":["a"]}`), ErrValueMissing, `header "A": object has no key "value"`},
		{"empty object", inHeaders(`"A":{}`), ErrValueMissing, ``},
		{"half a pair", inHeaders(`"A":"SECRET\ud800"`), ErrValueText, `header "A": text is not valid Unicode: it has bytes that are not UTF-8, or half of a surrogate pair`},
		{"low half", inHeaders(`"A":"\udd1eSECRET"`), ErrValueText, ``},
		{"two high halves", inHeaders(`"A":"\ud834\ud834\udd1e"`), ErrValueText, ``},
		{"bytes", inHeaders("\"A\":\"SECRET\xff\""), ErrValueText, ``},
		{"bytes in a subject", inHeaders("\"A\":{\"value\":\"SECRET\",\"subjects\":[\"a\xff\"]}"), ErrValueText, ``},
		{"half a pair in a permission", inNats(`"header_permissions":{"publish":{"allow":["A\ud800"]}}`), ErrValueText, ``},
		{"subjects string", inHeaders(`"A":{"value":"SECRET","subjects":"a"}`), ErrSubjectsForm, `header "A": subjects: expected a list of strings; found a string`},
		{"subjects of numbers", inHeaders(`"A":{"value":"SECRET","subjects":[1]}`), ErrSubjectsForm, ``},
		{"no subjects", inHeaders(`"A":{"value":"SECRET","subjects":[]}`), ErrSubjectsEmpty, `header "A": subjects: expected at least one subject; found an empty list`},
		{"permissions null", inNats(`"header_permissions":null`), ErrPermissionsForm, `header_permissions: expected {publish: {allow: [...]}, subscribe: {allow: [...]}}; found null`},
		{"permissions list", inNats(`"header_permissions":{"publish":["A"]}`), ErrPermissionsForm, ``},
		{"allow string", inNats(`"header_permissions":{"publish":{"allow":"A"}}`), ErrPermissionsForm, ``},
		{"allow number", inNats(`"header_permissions":{"publish":{"allow":[1]}}`), ErrPermissionsForm, ``},
		{"name empty", inHeaders(`"":"SECRET"`), field.ErrNameEmpty, `name of a header is empty`},
		{"name not a token", inHeaders(`"A B":"SECRET"`), field.ErrNameToken, `header "A B": name has a character other than letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"name with line break", inHeaders(`"A\r\nB":"SECRET"`), field.ErrNameToken, `header "A\r\nB": name has a character other than letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"name with half a pair", inHeaders(`"A\ud800":"SECRET"`), field.ErrNameToken, ``},
		{"name reserved", inHeaders(`"nats_Msg-Id":"SECRET"`), field.ErrNameReserved, `header "nats_Msg-Id": name is reserved: servers or clients use names that begin with nats-`},
		{"names equal", inHeaders(`"X-User":"SECRET","x_user":"SECRET"`), field.ErrNameTwice, `header "x_user": duplicate name (case is ignored, and '-', '_' and '.' are one character); the claim also has "X-User"`},
		{"name twice", inHeaders(`"A":"SECRET","A":"SECRET"`), field.ErrNameTwice, ``},
		{"name twice, one broken", inHeaders(`"A":"SECRET","A":null`), field.ErrNameTwice, ``},
		{"no values", inHeaders(`"A":[]`), ErrValuesEmpty, `header "A": expected at least one value; found an empty list`},
		{"no values in object", inHeaders(`"A":{"value":[]}`), ErrValuesEmpty, ``},
		{"empty value", inHeaders(`"A":""`), ErrValueEmpty, `header "A": value is empty`},
		{"blank value", inHeaders(`"A":" \t"`), ErrValueEmpty, ``},
		{"empty value in list", inHeaders(`"A":["SECRET",""]`), ErrValueEmpty, `header "A": value 2 of 2: value is empty`},
		{"line break", inHeaders(`"A":"SECRET\r\nB: c"`), field.ErrValueControl, `header "A": value contains a control character or line break`},
		{"control", inHeaders(`"A":"SECRET\u0000"`), field.ErrValueControl, ``},
		{"odd space", inHeaders(`"A":"SECRET\u00a0"`), field.ErrValueSpace, `header "A": value begins or ends with white space that client libraries trim differently`},
		{"subject", inHeaders(`"A":{"value":"SECRET","subjects":["a..b"]}`), field.ErrSubject, `header "A": expected a subject, with * and > as whole tokens and > as the last one; found "a..b"`},
		{"pattern", inNats(`"header_permissions":{"publish":{"allow":["X*Y"]}}`), field.ErrNamePattern, `header_permissions.publish.allow: expected a header name, the beginning of one followed by *, or *; found "X*Y"`},
		{"too many", inHeaders(strings.Join(many, ",")), ErrTooManyHeaders, `too many headers: found 65; at most 64 are allowed`},
		{"too long", inHeaders(long), ErrTooManyBytes, `header block is longer than max_bytes: found 16103 bytes; at most 16000 are allowed`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := FromUserJWT(rawToken(tt.payload), Limits{MaxBytes: 16000})
			if c != nil || !errors.Is(err, tt.want) {
				t.Fatalf("FromUserJWT returned error %v, want %v and no claim", err, tt.want)
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("the error says %q, want %q", err, tt.text)
			}
			if s := err.Error(); strings.Contains(s, "SECRET") || strings.ContainsAny(s, "\r\n") {
				t.Error("the text holds a value or a line break")
			}
		})
	}
}

func TestNotAToken(t *testing.T) {
	for _, token := range []string{"", "a.b", "a.b.c.d", "e30.e3=.x", "e30.é.x"} {
		if c, err := FromUserJWT(token, Limits{}); c != nil || !errors.Is(err, ErrToken) {
			t.Errorf("FromUserJWT(%q) returned error %v, want %v", token, err, ErrToken)
		}
	}
}

// TestAllFaults: one error lists all faults, in one line.
func TestAllFaults(t *testing.T) {
	_, err := FromUserJWT(rawToken(inNats(`"headers":{"A":null,"B C":"x","Nats-X":" ","D":{"value":"x","subjects":["a b"],"x":1}},`+
		`"Header_permissions":{"publish":{"allow":["*x"]}}`)), Limits{})
	for _, want := range []error{
		ErrValueForm, field.ErrNameToken, field.ErrNameReserved, ErrValueEmpty, ErrKeyUnknown, ErrKeyCase, field.ErrNamePattern,
	} {
		if !errors.Is(err, want) {
			t.Errorf("expected the error to list %q; found %v", want, err)
		}
	}
	var first *Error
	if !errors.As(err, &first) {
		t.Errorf("expected an *Error; found %v", err)
	}
}

func TestErrorsAreShort(t *testing.T) {
	members := make([]string, 40)
	for i := range members {
		members[i] = fmt.Sprintf(`"%s %d":"x"`, strings.Repeat("é", 500), i)
	}
	_, err := FromUserJWT(rawToken(inHeaders(strings.Join(members, ","))), Limits{})
	text := fmt.Sprint(err)
	if !strings.HasSuffix(text, "; and 25 more") || len(text) > 16*(2*maxName+100) {
		t.Errorf("the error has %d bytes, or does not say how many faults it leaves out", len(text))
	}
	if !strings.HasPrefix(text, `header "`+strings.Repeat("é", maxName)+`"...: `) {
		t.Error("the long name is not cut in the error")
	}
}

// TestDeep: nesting uses no stack, and is refused at the depth at which encoding/json refuses it.
func TestDeep(t *testing.T) {
	for _, depth := range []int{9000, 500_000} {
		deep := strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth)
		for name, p := range map[string]string{
			"beside": `{"x":` + deep + `,"nats":{"headers":{"A":"x"}}}`,
			"value":  inHeaders(`"A":` + deep),
			"claim":  inNats(`"headers":` + strings.Repeat(`{"a":`, depth) + `1` + strings.Repeat(`}`, depth)),
			"open":   `{"headers":` + strings.Repeat(`[{"a":`, depth),
		} {
			c, err := FromUserJWT(rawToken(p), Limits{})
			if fits := depth < maxNesting && name == "beside"; (err == nil) != fits || (c != nil) != fits {
				t.Errorf("%s, %d levels deep: FromUserJWT returned error %v", name, depth, err)
			}
		}
	}
}
