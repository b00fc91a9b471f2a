package grant

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"stamp/internal/callout/session"
)

// TestToJSONHidesNothing: toJSON refuses what is refused elsewhere: an absent field, and a text that could not be decoded,
// which would make two users one.
func TestToJSONHidesNothing(t *testing.T) {
	for _, e := range []string{
		"toJSON(session.user)", "toJSON([session.user])", "toJSON({'u': session.user})", "toJSON(session)", "toBase64(session.user)",
		"toJSON(session.user) + ''", "toBase64(toJSON(session.user))", "toJSON(toJSON(session.user))",
	} {
		g := mustParse(t, one(fmt.Sprintf("headers: {X-User: %q}", "{{ "+e+" }}")))
		for _, user := range []string{"al\xe9", "al\ufffd", `a\` + "\xe9"} {
			_, err := g.Match(&session.Session{Data: map[string]any{"user": user}}, cookie(), now)
			refusal(t, err, "headers: X-User", "U+FFFD")
		}
		for _, user := range []string{"al", `\ufffd`, `a\\ufffd`, "\u00e9\n\"\u2028"} {
			_, err := g.Match(&session.Session{Data: map[string]any{"user": user}}, cookie(), now)
			if err != nil && strings.Contains(err.Error(), "U+FFFD") {
				t.Errorf("%s refuses the user %q as not decodable: %v", e, user, err)
			}
		}
	}
	g := mustParse(t, one(`headers: {X-User: "{{ toJSON(session) }}"}`))
	if _, err := g.Match(&session.Session{Data: map[string]any{"\xe9": "a"}}, cookie(), now); err == nil {
		t.Error("a name that could not be decoded is written as JSON")
	}
	if _, err := mustParse(t, one(`user: "{{ toJSON(session.user) }}"`)).Match(data(t, `{}`), cookie(), now); err == nil {
		t.Error("an absent field is written as null")
	}
}

// TestFunctionsOfAbsent: a function of an absent field is refused, in a condition too. Otherwise a user could make a strict
// grant fail, and get a laxer one.
func TestFunctionsOfAbsent(t *testing.T) {
	for _, call := range []string{
		"first(session.a)", "last(session.a)", "max(session.a)", "min(session.a)", "sort(session.a)", `get(session.a, "b")`,
		"take(session.a, 1)", "reverse(session.a)", "concat(session.a, [])", "sum(session.a)", "toJSON(session.a)", "join(session.a)",
		"sortBy(session.a, #)", "session.a | first()",
	} {
		g := mustParse(t, one(fmt.Sprintf("when: %q", call+" == nil")))
		_, err := g.Match(data(t, `{}`), cookie(), now)
		refusal(t, err, "when", "absent")
	}
	for _, condition := range []string{
		"first([]) == nil", `get(session, "a") == nil`, "first(session.a ?? []) == nil", "max([]) == nil", "sort([]) == []",
		`first(session.l) == 2`, `max(session.l) == 3`, `sort(session.l) == [1, 2, 3]`, `get(session.l, 1) == 1`, "last(session.l) == 3",
	} {
		g := mustParse(t, one(fmt.Sprintf("when: %q", condition)))
		if _, err := g.Match(data(t, `{"l":[2,1,3]}`), cookie(), now); err != nil {
			t.Errorf("condition %s does not hold: %v", condition, err)
		}
	}
}

// TestPatternsAreCharged: a match costs steps in proportion to its pattern and its text.
func TestPatternsAreCharged(t *testing.T) {
	left := func(pattern string, length int) int {
		e, err := compileCondition(fmt.Sprintf("session.text matches %q", pattern))
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(&session.Session{Data: map[string]any{"text": strings.Repeat("a", length)}}, cookie(), false)
		defer m.release()
		if _, reason := e.run(m); reason != "" && !strings.Contains(reason, "steps") {
			t.Fatal(reason)
		}
		return maxSteps - m.meter.left
	}
	for _, n := range []int{100, 200, 400} {
		if small, large := left(fmt.Sprintf("a.{%d}b", n), 1000), left(fmt.Sprintf("a.{%d}b", 2*n), 1000); large < small*9/5 {
			t.Errorf("%d steps for a pattern, %d for one of twice its size", small, large)
		}
		if small, large := left("a.{200}b", n), left("a.{200}b", 2*n); large < small*9/5 {
			t.Errorf("%d steps for a text, %d for one of twice its size", small, large)
		}
	}
	large := strings.Repeat("a", 250_000)
	for pattern, refused := range map[string]bool{"a.{900}b": true, "(?i)(a{1,100}b){1,9}": true, `.*@example\\.com$`: false} {
		g := mustParse(t, one(fmt.Sprintf(`when: 'session.text matches "%s"'`, pattern)))
		_, err := g.Match(&session.Session{Data: map[string]any{"text": large}}, cookie(), now)
		if refused {
			refusal(t, err, "when", "steps")
		} else if !errors.Is(err, ErrNone) {
			t.Errorf("pattern %s: expected the condition not to hold, within the bound of steps; found %v", pattern, err)
		}
	}
}
