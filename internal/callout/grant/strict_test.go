package grant

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"stamp/internal/callout/session"
)

// verdict judges a condition for a session whose field v has this JSON; if it is empty, v is absent.
func verdict(t *testing.T, condition, v string) error {
	t.Helper()
	content := "{}"
	if v != "" {
		content = `{"v": ` + v + `, "w": ` + v + `}`
	}
	_, err := mustParse(t, one(fmt.Sprintf("when: %q", condition))).Match(data(t, content), cookie(), now)
	return err
}

// refuses fails the test unless the condition and its negation refuse: neither may give a grant, nor lead to a later one.
func refuses(t *testing.T, condition, v string) {
	t.Helper()
	for _, c := range []string{condition, "not (" + condition + ")"} {
		var r *Refusal
		if err := verdict(t, c, v); !errors.As(err, &r) || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%s, v %s: %v; want a refusal", c, v, err)
		}
	}
}

// decides fails the test unless the condition is true, and its negation false.
func decides(t *testing.T, condition, v string) {
	t.Helper()
	if err := verdict(t, condition, v); err != nil {
		t.Errorf("%s with v = %s: %v; want true", condition, v, err)
	}
	if err := verdict(t, "not ("+condition+")", v); !errors.Is(err, ErrNone) {
		t.Errorf("not (%s), v %s: %v; want false", condition, v, err)
	}
}

// Functions of lists refuse other values. The library takes a text for a list of bytes, and an empty object for an empty list,
// so that none of a text's roles would be "banned".
func TestListsOnly(t *testing.T) {
	for condition, elements := range map[string]string{
		`none(session.v, # == "banned")`: `["a"]`, `all(session.v, # != "banned")`: `["a"]`, `any(session.v, # == "a")`: `["a"]`,
		`one(session.v, # == "a")`: `["a"]`, `count(session.v, # == "banned") == 0`: `["a"]`, `filter(session.v, # == "banned") == []`: `["a"]`,
		`findIndex(session.v, # == "banned") == nil`: `["a"]`, `find(session.v, # == "banned") == nil`: `["a"]`,
		`findLast(session.v, # == "banned") == nil`: `["a"]`, `findLastIndex(session.v, # == "banned") == nil`: `["a"]`,
		`map(session.v, 1) == [1]`: `["a"]`, `sum(session.v, 1) == 1`: `["a"]`, `sortBy(session.v, 1) == ["a"]`: `["a"]`,
		`first(session.v) == "a"`: `["a"]`, `last(session.v) == "a"`: `["a"]`, `sort(session.v) == ["a"]`: `["a"]`,
		`first(session.v) == nil`: `[]`, `last(session.v) == nil`: `[]`, `sort(session.v) == []`: `[]`,
		`take(session.v, 1) == ["a"]`: `["a"]`, `reverse(session.v) == ["a"]`: `["a"]`, `concat(session.v, []) == ["a"]`: `["a"]`,
		`sum(session.v) == 3`: `[1, 2]`, `max(session.v) == 2`: `[1, 2]`, `min(session.v) == 1`: `[1, 2]`, `max(session.v, 0) == 2`: `[1, 2]`,
	} {
		decides(t, condition, elements)
		for _, v := range []string{"", "null", `"S3CRET"`, `""`, "{}", `{"a":"a"}`, "true"} {
			refuses(t, condition, v)
		}
		if !strings.HasPrefix(condition, "m") || strings.HasPrefix(condition, "map") {
			refuses(t, condition, "5")
		}
	}
	for _, condition := range []string{`session.v[0] != "banned"`, `session.v?.[0] != "banned"`, `session.v[-1] != "banned"`} {
		refuses(t, condition, `"S3CRET"`)
		decides(t, condition, `["a"]`)
	}
	decides(t, `session.v?.[0] == nil and session.v?.a?.[0] == nil and session.v?.[session.w ?? 0].a == nil`, "null")
	decides(t, `session.v?.a[0] == "x" and session.v["a"][0] == "x"`, `{"a":["x"]}`)
	for _, condition := range []string{`get(session.v, 0) == nil`, `get(session.v, "x") == nil`} {
		for _, v := range []string{"", `"S3CRET"`, "5", "true"} {
			refuses(t, condition, v)
		}
	}
	decides(t, `get(session.v, 3) == nil`, `["a"]`)
	decides(t, `get(session.v, "a") == "b"`, `{"a":"b"}`)
}

// A calculation that gives no number, or another number than the exact one, refuses: comparisons with NaN are always false, and
// integers overflow.
func TestNumbersAreExact(t *testing.T) {
	for condition, values := range map[string][]string{
		`float(session.v) < 18`:                          {`"NaN"`, `"nan"`, `"Inf"`, `"-infinity"`, `"1e999"`, `"x"`, `""`, "null", "true", "[]"},
		`int(session.v) < 18`:                            {`"9007199254740992"`, `"-9223372036854775808"`, "1e30", "-1e30", "9007199254740993", `"1e3"`, "null", "true"},
		`session.v / session.w < 1`:                      {"0", "0.0", "-0.0"},
		`1 / session.v < 1`:                              {"0"},
		`session.v * session.w < 18`:                     {"1e300", "-1e300"},
		`session.v + session.w < 18`:                     {"1e308", "-1e308"},
		`session.v - 1e308 - 1e308 < 18`:                 {"-1e308"},
		`session.v ** 400 < 18`:                          {"10", "-10.5"},
		`session.v ^ 0.5 < 18`:                           {"-1"},
		`int(session.v) * int(session.v) < 18`:           {`"4294967296"`, `"-9007199254740991"`, "94906266"},
		`int(session.v) + int(session.w) < 18`:           {`"9007199254740991"`},
		`0 - int(session.v) - int(session.w) < 18`:       {`"9007199254740991"`},
		`sum(session.v) < 18`:                            {"[1e308, 1e308]"},
		`sum(session.v, int(#) * 4503599627370496) < 18`: {"[" + strings.Repeat("1,", 5000) + "1e308]"},
		`sum([1, 2], # * session.v) < 18`:                {"1e308"},
		`len([1]) % session.v < 1`:                       {"0"},
		`["a", "b"][session.v] == "b"`:                   {"1.9", "0.5", "1e300", "null", `"1"`},
		`["a", "b"][0:session.v] == ["a"]`:               {"1.9", "null"},
		`take(["a", "b"], session.v) == ["a"]`:           {"1.9", "null"},
		`split("a.b", ".", session.v) == ["a.b"]`:        {"1.9", "null"},
		`get(["a", "b"], session.v) == "b"`:              {"1.9", "null"},
	} {
		for _, v := range values {
			refuses(t, condition, v)
		}
	}
	decides(t, `float(session.v) < 18`, `"17.5"`)
	decides(t, `int(session.v) == 9007199254740991`, `"9007199254740991"`)
	decides(t, `session.v / 4 == 0.25`, "1")
	decides(t, `session.v * 2 + 1 - 1 == 4 and 2 * 3 == 6 and 2 ** 3 == 8`, "2")
	decides(t, `sum(session.v, len(#)) == 3`, `["a", "bc"]`)
	decides(t, `["a", "b"][session.v] == "b"`, "1")
	decides(t, `["a", "b"][0:session.v] == ["a"]`, "1")
	decides(t, `session.v > 1.7e18`, "1.8e18") // the order of large numbers is what it is
}

// Two numbers above 2^53 that were written differently may have become one, and so may two texts that could not be decoded. So
// a comparison of such values refuses, wherever they are in a list or an object.
func TestEqualityIsCertain(t *testing.T) {
	for _, v := range []string{"9007199254740993", "-1e30", `"\ud800"`, `"a\udfffb"`, `"\ufffd"`} {
		for _, form := range []string{"%s", "[1, %s]", `{"a": {"b": [%s]}}`} {
			for _, condition := range []string{
				"session.v == session.w", "session.v != session.w", "session.v in [session.w]", "session.v in [[session.w], 2]",
				"session.v in session.list ?? [1]", "[session.v] == [session.w]", `{"x": session.v} == {"x": session.w}`,
				"any([session.w], # == session.v)",
			} {
				refuses(t, condition, fmt.Sprintf(form, v))
			}
		}
		refuses(t, `session.v in ["a", 9007199254740992] and false or session.v == session.w`, v)
	}
	refuses(t, "session.v == 9007199254740993", "9007199254740992")
	refuses(t, "9007199254740993 == session.v", "9007199254740992")
	refuses(t, "session.v == -9007199254740993", "-9007199254740992")
	refuses(t, "session.v in [1, 9007199254740993]", "9007199254740992")
	refuses(t, `{"\ud800": 1} == session`, `1`)
	for _, condition := range []string{
		`session.v in {"a": 1}`, `{"a": 1}[session.v] == nil`, `get({"a": 1}, session.v) == nil`, `session[session.v] == nil`,
		`session.v startsWith session.w`, `session.v endsWith session.w`, `session.v contains session.w`, `hasPrefix(session.v, session.w)`,
		`hasSuffix(session.v, session.w)`, `indexOf(session.v, session.w) == 0`, `lastIndexOf(session.v, session.w) == 0`,
		`trimPrefix(session.v, session.w) == ""`, `trimSuffix(session.v, session.w) == ""`, `split(session.v, session.w) == [""]`,
		`splitAfter(session.v, session.w) == [""]`, `replace(session.v, session.w, "") == ""`, `lower(session.v) == upper(session.w)`,
		`fromJSON(session.v + '"\\ud800"') == session.w`,
	} {
		refuses(t, condition, `"a\ud800"`)
	}
	decides(t, `session.v == session.w and session.v in [session.w] and session.v startsWith session.w`, `"a\u00e9\ud83d\ude00"`)
	decides(t, `session.v == session.w`, `{"a": [1, "b", null, true, 9007199254740991]}`)
	decides(t, `session.v != "admin" and not (session.v in ["admin", "ops"]) and session.v not in ["x"]`, `"\ud800"`)
	decides(t, `session.v != 5 and session.v not in [5, 6]`, "1e30")
}

// An absent name differs from an empty one.
func TestAbsentKeys(t *testing.T) {
	const v = `{"": true}`
	refuses(t, "session.v[session.gone]", v)
	refuses(t, "get(session.v, session.gone)", v)
	decides(t, "not (session.gone in session.v) and session.gone not in session.v", v)
	decides(t, `session.v[""] and "" in session.v`, v)
}

// An absent field does not become null in a list or an object that the expression makes. What is null in the session may be
// written as null, and so may a literal null.
func TestToJSONOfAbsent(t *testing.T) {
	for _, e := range []string{
		`toJSON([session.gone])`, `toJSON({"u": session.gone})`, `toJSON({"a": [1, {"b": session.gone}]})`, `[session.gone] | toJSON()`,
		`let x = {"u": session.gone}; toJSON(x)`, `toJSON(map(session.users, #.gone))`, `toJSON(map(session.users, [#.gone]))`,
		`toJSON({"u": session.gone ?? nil})`, `toJSON(concat([session.gone], []))`, `toJSON({"u": find(session.users, false)})`,
		`toJSON(session.role == "x" ? [] : [session.null])`, `toJSON({"u": session.gone?.a})`, `"x" + toJSON([first([])])`,
	} {
		g := mustParse(t, one(fmt.Sprintf("headers: {X-User: %q}", "{{ "+e+" }}")))
		_, err := g.Match(data(t, `{"users": [{"id": 1}], "null": null}`), cookie(), now)
		refusal(t, err, "headers: X-User", "absent")
	}
	g := mustParse(t, one(`headers: {X-User: '{{ toJSON({"u": session.user, "n": nil, "l": [session.list]}) }}'}`))
	got, err := g.Match(data(t, `{"user": {"middle": null}, "list": [null]}`), cookie(), now)
	if err != nil {
		t.Fatal(err)
	}
	if text := got.Claim.Headers[0].Values[0]; text != `{"l":[[null]],"n":null,"u":{"middle":null}}` {
		t.Errorf("toJSON wrote %s; want what is null in the session, and nothing else, as null", text)
	}
}

// Values that are nested as deeply as JSON may be are judged, or refused, like any other.
func TestDeepValues(t *testing.T) {
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	decides(t, "session.v == session.w", deep)
	decides(t, "session.v in [session.w]", deep)
	decides(t, "len(toJSON(session.v)) > 1", deep)
	refuses(t, "max(session.v) > 1", deep)
	refuses(t, `fromJSON(session.v) == 1`, `"`+strings.Repeat("[", 20_000)+`"`)
}

// The checks of equality cost steps in proportion to what they read.
func TestStrictStepsAreLinear(t *testing.T) {
	left := func(condition string, n int) int {
		e, err := compile(condition)
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(&session.Session{Data: data(t, sizes(n)).Data}, cookie(), false)
		defer m.release()
		if _, reason := e.run(m); reason != "" {
			t.Fatal(reason)
		}
		return maxSteps - m.meter.left
	}
	for _, condition := range []string{"session.list == session.texts", "session.text == session.same", "session.list in [session.texts]", "session.text in session"} {
		if small, large := left(condition, 2000), left(condition, 4000); large > small*5/2 || large < small*3/2 {
			t.Errorf("condition %s takes %d steps, and %d for twice the session", condition, small, large)
		}
	}
}
