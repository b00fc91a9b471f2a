package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"stamp.example/claim"
	"stamp/internal/conf"
)

// A missing brace of a call is an error for configured users and for headers.all, and refuses the connections of a
// scope. In a user JWT it is text, as all braces are.
func TestBracesOfCalls(t *testing.T) {
	vars := Vars{Name: "alice", Tags: []string{"a:x"}}
	for value, want := range map[string]string{
		"{{name()": "", "{{name() }": "", "{{ name()": "", "{{": "", "a {{": "", "{{{": "", "{{name()}": "", "{{name(}": "", "{{name()}{": "",
		"{{na{me()}}": "", "{{{{name()}}": "", "{{name()}} {{name()": "", "{{name() {{name()}}": "",
		"{name()}}": "", "name()}}": "", "x { tag(a) }}": "", "x name()}}": "", "}} b name() }}": "", "{ {name()}}": "", "(name()}}": "", "xname()}}": "xname()}}", "{{name()}} {NAME()}}": "", "a}} {name()}}": "",
		"{{name()}}": "alice", "{{ name() }}": "alice", "{{{name()}}}": "{alice}", "{{name()}}}}": "alice}}", "{{name()}}{{tag(a)}}": "alicex",
		`{"a":{"b":"{{name()}}"}}`: `{"a":{"b":"alice"}}`, "a}}": "a}}", "{name()}": "{name()}", "{name}}": "{name}}", "{x()}}": "{x()}}",
		"{ {name()} }": "{ {name()} }",
	} {
		quoted := strings.ReplaceAll(value, `"`, `\"`)
		var faults conf.Faults
		block, err := conf.ParseString(fmt.Sprintf(`headers { all: {A: "%s"} }`, quoted))
		if err != nil {
			t.Fatal(err)
		}
		ParseRules(block.Get("headers"), &faults)
		_, scopeErr := granted(nil, Conn{UserJWT: token(`{}`), Scoped: true, SigningKey: "AK", AccountJWT: account(`{"A":"` + quoted + `"}`), Vars: vars})
		for where, err := range map[string]error{"user": CheckTemplates(configured("A", value)), "all": faults.Err(), "scope": scopeErr} {
			if (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), ErrTemplateBraces.Error()) {
				t.Errorf("%s in a %s: expected an error: %t; found %v", value, where, want != "", err)
			}
		}
		if want != "" {
			s, err := granted(nil, Conn{User: configured("A", value), Vars: vars})
			if err != nil || lines(t, s) != "A: "+want {
				t.Errorf("%s: the stamped lines are %q, error %v; want A: %s", value, lines(t, s), err, want)
			}
		}
		s, err := granted(nil, Conn{UserJWT: user(`{"A":"` + quoted + `"}`), Vars: vars})
		if err != nil || lines(t, s) != "A: "+value {
			t.Errorf("%s in a user JWT: %q, error %v", value, lines(t, s), err)
		}
	}
}

// The error gives the place of the call, and nothing of the value, which may be secret.
func TestBracesErrorHasNoValue(t *testing.T) {
	for value, want := range map[string]string{"SECRET {{SECRET": "byte 8 of", "{{name()}}SECRET {name()}} SECRET": "byte 19 of"} {
		err := CheckTemplates(configured("A", value))
		if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), want) {
			t.Errorf("expected an error with %q and without the value; found %v", want, err)
		}
	}
}

// The values keep the order of the tags. A tag whose name only begins with the name is not found.
func TestTagsOfTemplates(t *testing.T) {
	v := Vars{Tags: []string{"b:2", "a:3", "ab:9", "a:1", "a:b:7", "a", "a:3", "B:x"}}
	for call, want := range map[string]string{"tag(a)": "3 1 b:7 3", "tag(A:B)": "7", "tag(b)": "2", "tag(ab)": "9", "tag(c)": "", "tag()": "", "tag(z)": ""} {
		got, err := newExpansion(v).call(call)
		if strings.Join(got, " ") != want || (err == nil) != (want != "") {
			t.Errorf("%s = %q, error %v; want %q", call, got, err, want)
		}
	}
	for n, want := range map[int]error{maxTemplateLines: nil, maxTemplateLines + 1: ErrTemplateLines} {
		v.Tags = nil
		for i := range n {
			v.Tags = append(v.Tags, fmt.Sprint("a:", i))
		}
		if got, err := newExpansion(v).expandValue("{{tag(a)}}"); !errors.Is(err, want) || err == nil && len(got) != n {
			t.Errorf("%d tags become %d lines, error %v", n, len(got), err)
		}
	}
}

// The tags are searched once for each name in the templates, and the number of names has a bound.
func TestTagNamesAreBounded(t *testing.T) {
	var tags []string
	var many strings.Builder
	for i := range maxTagNames {
		tags = append(tags, fmt.Sprintf("t%d:v", i))
		fmt.Fprintf(&many, "{{tag(t%d)}}{{tag(T%d)}}", i, i)
	}
	two := func(more string) *claim.Claim {
		return &claim.Claim{Headers: []claim.Header{{Name: "A", Values: []string{many.String()}}, {Name: "B", Values: []string{more}}}}
	}
	v := Vars{Tags: append(tags, "more:v")}
	if _, err := expand(two("{{tag(t1)}}"), v, claim.MaxLimits); err != nil {
		t.Error(err)
	}
	if _, err := expand(two("{{tag(more)}}"), v, claim.MaxLimits); !errors.Is(err, ErrTemplateTags) {
		t.Errorf("found error %v, want %v", err, ErrTemplateTags)
	}
}

// All headers together have the bytes of one block.
func TestExpansionSharesRoom(t *testing.T) {
	half := strings.Repeat("n", claim.MaxBlock/2-100)
	tmpl := &claim.Claim{Headers: []claim.Header{{Name: "A", Values: []string{"{{name()}}"}}, {Name: "B", Values: []string{"{{name()}}"}}, {Name: "C", Values: []string{"{{name()}}"}}}}
	if _, err := expand(tmpl, Vars{Name: half}, claim.MaxLimits); !errors.Is(err, ErrTemplateBytes) {
		t.Errorf("found error %v, want %v", err, ErrTemplateBytes)
	}
	tmpl.Headers = tmpl.Headers[:2]
	if _, err := expand(tmpl, Vars{Name: half}, claim.MaxLimits); err != nil {
		t.Error(err)
	}
}

// The text between braces may be a secret that was not meant to be a call. An error quotes only the part that can be a
// function's name.
func TestErrorsQuoteNoMoreThanAFunctionsName(t *testing.T) {
	for value, want := range map[string]string{
		"{{nam()}}":              "nam(...)",
		"{{client_ip()}}":        "client_ip(...)",
		"{{nam(planted)}}":       "nam(...)",
		"{{name}}":               "name is written {{name()}}",
		"{{name(planted)}}":      "name is written {{name()}}",
		"{{TAG}}":                "tag is written {{tag(x)}}, where x is the name of a tag",
		"{{account-tag()}}":      "account-tag is written {{account-tag(x)}}, where x is the name of a tag",
		"{{}}":                   "expected a call such as {{name()}}; found 0 bytes that are not one",
		"{{planted}}":            "expected a call such as {{name()}}; found 7 bytes that are not one",
		"{{planted)}}":           "expected a call such as {{name()}}; found 8 bytes that are not one",
		"{{\u212Aplanted(x)}}":   "expected a call such as {{name()}}; found 13 bytes that are not one",
		"{{planted(x}}":          "expected a call such as {{name()}}; found 9 bytes that are not one",
		"{{u:planted@host (x)}}": "expected a call such as {{name()}}; found 18 bytes that are not one",
		"{{" + strings.Repeat("planted", 9) + "()}}": "expected a call such as {{name()}}; found 65 bytes that are not one",
	} {
		_, err := expand(&claim.Claim{Headers: []claim.Header{{Name: "A", Values: []string{value}}}}, Vars{Name: "u"}, claim.MaxLimits)
		if err == nil || !strings.HasSuffix(err.Error(), ErrTemplateFunction.Error()+": "+want) {
			t.Errorf("%s: found error %v, want %s", value, err, want)
		}
	}
}
