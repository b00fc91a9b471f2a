package grant

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// numbers is a list in JSON.
func numbers(n int) string { return strings.TrimSuffix("["+strings.Repeat("1,", n), ",") + "]" }

// sizes is a session whose content grows with n.
func sizes(n int) string {
	text, err := json.Marshal(map[string]any{
		"same": strings.Repeat("a", n), "nested": json.RawMessage("[" + numbers(n/2) + "," + numbers(n/2) + "]"),
		"list": json.RawMessage(numbers(n)), "text": strings.Repeat("a", n), "spaced": strings.Repeat("a ", n/2),
		"texts": json.RawMessage(strings.ReplaceAll(numbers(n/64), "1", `"`+strings.Repeat("x", 60)+`"`)),
		"deep":  json.RawMessage(strings.Repeat("[", min(n/2, 5000)) + strings.Repeat("]", min(n/2, 5000))), "json": numbers(n / 2),
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// superlinear are conditions whose work grows faster than the session, unless they are ended.
var superlinear = []string{
	`len(filter(session.list, any(session.list, # == 2))) > 0`,
	`any(session.list, any(session.list, # == 2))`,
	`any(session.texts, len(split(session.text, "")) == 1)`,
	`len(map(session.texts, split(session.text, ""))) > 0`,
	`any(session.list, session.text contains "ab")`,
	`any(session.list, session.text matches "(a|aa)*b")`,
	`any(session.list, 2 in session.list)`,
	`any(session.list, session.list == [1])`,
	`any(session.list, session.list == session.texts)`,
	`any(session.list, toJSON(session.list) == "")`,
	`any(session.texts, len(fromJSON(session.json)) == 1)`,
	`any(session.list, len(concat(session.list, session.list)) == 0)`,
	`any(session.list, session.text + "b" == "")`,
	`any(session.list, len(sort(session.list)) == 0)`,
	`any(session.list, len(sortBy(session.list, #)) == 0)`,
	`any(session.list, upper(session.text) == "")`,
	`any(session.list, toBase64(session.text) == "")`,
	`any(session.list, join(session.texts, session.text) == "")`,
	`any(session.list, replace(session.text, "a", "b") == "")`,
	`any(session.list, len(session.text) == 0)`,
	`any(session.list, sum(session.list) == 0)`,
	`any(session.list, count(session.list, # == 2) == 1)`,
	`any(session.list, max(session.list) == 2)`,
	`any(session.list, len(reverse(session.list)) == 0)`,
	`any(session.list, session.text startsWith session.same and false)`,
	`any(session.list, session.same endsWith session.text and false)`,
	`any(session.list, hasPrefix(session.text, session.same) and false)`,
	`any(session.list, hasSuffix(session.text, session.same) and false)`,
	`any(session.list, get(session, session.text) == 0)`,
	`any(session.list, max(session.nested) == 2)`,
	`any(session.list, min(session.nested, session.list) == 2)`,
	`any(session.list, session.text < session.same)`,
	`any(session.list, session.text in {"a": 1})`,
	`let m = {"a": 1}; any(session.list, m[session.text] == 0)`,
	`any(session.list, len(trimPrefix(session.text, session.same)) == 1)`,
	`any(session.texts, indexOf(session.text, "b") == 1)`,
	`any(session.list, session[session.text] == 0)`,
	`any(session.list, all(session.list, none(session.list, # == 2)) and false)`,
	`let a = [session.list, session.list]; let b = [a, a]; let c = [b, b]; let d = [c, c]; let e = [d, d]; let f = [e, e]; let g = [f, f]; toJSON([g, g]) == ""`,
	`let a = session.text + session.text; let b = a + a; let c = b + b; let d = c + c; let e = d + d; let f = e + e; let g = f + f; let h = g + g; h == ""`,
}

// steps returns how many steps a condition takes, and what it allocates.
func steps(t *testing.T, condition, content string) (taken int, allocated uint64, ended bool) {
	t.Helper()
	e, err := compile(condition)
	if err != nil {
		t.Fatalf("condition %s does not compile: %v", condition, err)
	}
	s := data(t, content)
	m := newMachine(s, cookie(), true)
	m.meter.deadline = time.Now().Add(time.Hour)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, reason := e.run(m)
	runtime.ReadMemStats(&after)
	if strings.Contains(reason, "absent") {
		t.Errorf("condition %s reads a field that the session lacks: %s", condition, reason)
	}
	// The expression is ended by its steps, its elements, or the length of a text.
	return maxSteps - m.meter.left, after.TotalAlloc - before.TotalAlloc, strings.Contains(reason, "more than")
}

// TestStepsAreBounded: whatever a session holds, the bound of steps ends an expression, which allocates no more than these
// steps allow.
func TestStepsAreBounded(t *testing.T) {
	const most = 64 << 20 // bytes: a session of the largest size is 5 MB when it is decoded
	for _, condition := range superlinear {
		ended := false
		for n := 1 << 10; n <= 1<<16; n *= 4 {
			taken, allocated, ends := steps(t, condition, sizes(n))
			if ends {
				ended = true
			} else if taken > maxSteps {
				t.Errorf("condition %s took %d steps, which is above the bound", condition, taken)
			}
			if allocated > most {
				t.Errorf("condition %s allocates %d bytes for a session of %d elements", condition, allocated, n)
			}
		}
		if !ended {
			t.Errorf("condition %s was not ended at the largest session, so its work is not counted", condition)
		}
	}
}

// TestSortedTexts: each comparison of a sort costs steps in proportion to the length of the texts.
func TestSortedTexts(t *testing.T) {
	content := `{"list":` + strings.TrimSuffix("["+strings.Repeat("1,2,", 2000), ",") + `],"a":"` + strings.Repeat("x", 60<<10) + `","b":"` + strings.Repeat("x", 60<<10) + `"}`
	if taken, _, ended := steps(t, `len(sortBy(session.list, # == 1 ? session.a : session.b)) == 0`, content); !ended {
		t.Errorf("the sort of long texts was not ended by its steps; it took %d", taken)
	}
}

// TestTrimNeedsALiteral: trim compares each character of a text with each character of its second argument, so that one must be
// a literal.
func TestTrimNeedsALiteral(t *testing.T) {
	for _, source := range []string{`trim(session.a, session.b)`, `session.a | trim(session.b)`} {
		if _, err := compile(source); err == nil || !strings.Contains(err.Error(), "a literal string") {
			t.Errorf("%s: expected an error that asks for a literal string; found %v", source, err)
		}
	}
	for _, source := range []string{`trim(session.a, "xy")`, `trim(session.a)`} {
		if _, err := compile(source); err != nil {
			t.Errorf("%s was refused: %v", source, err)
		}
	}
}

// TestStepsAreLinear: an expression that reads a session once takes steps in proportion to it, and is not ended.
func TestStepsAreLinear(t *testing.T) {
	for _, condition := range []string{
		`any(session.list, # == 2)`, `2 in session.list`, `session.text contains "ab"`, `session.text matches "^a*b"`, `session.list == session.texts`,
		`upper(session.text) == ""`, `len(split(session.text, "")) == 1`, `toJSON(session.list) == ""`, `len(fromJSON(session.json)) == 1`,
		`sum(session.list) == 1`, `join(session.texts, ",") == ""`, `replace(session.text, "a", "b") == ""`,
		`toJSON(session.deep) == ""`, `any(session.texts, # startsWith "b")`,
	} {
		last := 0
		for n := 1 << 12; n <= 1<<16; n *= 2 {
			taken, _, ended := steps(t, condition, sizes(n))
			if ended {
				t.Errorf("condition %s was ended for a session of %d elements", condition, n)
			}
			if last > 0 && taken > last*5/2 {
				t.Errorf("condition %s takes %d steps for a session, and %d for one of twice its size", condition, last, taken)
			}
			last = taken
		}
	}
}

// TestStepsRefuse: an expression that is ended refuses. The error names the expression and shows no value.
func TestStepsRefuse(t *testing.T) {
	const condition = `any(session.list, any(session.list, # == session.secret))`
	content := strings.TrimSuffix(sizes(1<<14), "}") + `,"secret":"S3CRET"}`
	for _, fields := range []string{`when: '` + condition + `'`, `headers { X: "{{ ` + condition + ` }}" }`, `publish: ["a.{{ ` + condition + ` }}"]`} {
		_, err := mustParse(t, one(fields)).Match(data(t, content), cookie(), now)
		field, _, _ := strings.Cut(fields, " ")
		if field == "headers" {
			field = "headers: X"
		}
		refusal(t, err, strings.TrimSuffix(field, ":"), condition, "steps")
		if strings.Contains(fmt.Sprint(err), "S3CRET") {
			t.Errorf("the refusal holds a value: %v", err)
		}
	}
}

// TestDeadline: the deadline says nothing about the session, so an expression that it ends is no refusal.
func TestDeadline(t *testing.T) {
	m := newMachine(data(t, sizes(1<<12)), cookie(), false)
	defer m.release()
	m.meter.deadline = time.Now().Add(-time.Second)
	e, err := compile(`any(session.list, # == 2)`)
	if err != nil {
		t.Fatal(err)
	}
	_, reason := e.run(m)
	if !strings.Contains(reason, e.source) || !m.meter.late {
		t.Fatalf("expected the deadline to end the expression; found %q", reason)
	}
	err = m.matchError(&Refusal{Grant: "g", Field: "when", Reason: reason})
	var r *Refusal
	if !errors.Is(err, ErrLate) || errors.As(err, &r) {
		t.Errorf("got %v, which is a refusal; want %v", err, ErrLate)
	}
}

// TestTextsAreBounded: a template that combines lists and long texts has a bound.
func TestTextsAreBounded(t *testing.T) {
	content := `{"text":"` + strings.Repeat("x", 100<<10) + `","list":` + numbers(1000) + `}`
	g := mustParse(t, one(`headers { X: "{{ session.text }}{{ session.list }}" }`))
	s := data(t, content)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := g.Match(s, cookie(), now)
	runtime.ReadMemStats(&after)
	refusal(t, err, "headers: X", "bytes")
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("%d bytes were allocated, want 4 MiB or less", allocated)
	}
}

// FuzzSteps: no expression allocates much more memory than its counted steps allow.
func FuzzSteps(f *testing.F) {
	for _, condition := range superlinear {
		f.Add(condition)
	}
	content := sizes(1 << 13)
	f.Fuzz(func(t *testing.T, source string) {
		e, err := compile(source)
		if err != nil {
			return
		}
		s := data(t, content)
		m := newMachine(s, cookie(), true)
		defer m.release()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e.run(m)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 128<<20 {
			t.Errorf("expression %s allocates %d bytes", source, allocated)
		}
	})
}
