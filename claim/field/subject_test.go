package field

import "testing"

func TestIsSubject(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "a.b": true, "*": true, ">": true, "a.*": true, "*.b.>": true, "$JS.API.x": true, "Grüße.x": true,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, ">.a": false, "a.>.b": false,
		"a*": false, "a.b>": false, "**": false, ">>": false, "a b": false, "a\tb": false, "a\r\nb": false,
		"a\x00": false, "a\x7f": false, "a\xff": false,
	} {
		if IsSubject(s) != want {
			t.Errorf("IsSubject(%q) = %t, want %t", s, !want, want)
		}
	}
}

func TestIsNamePattern(t *testing.T) {
	for s, want := range map[string]bool{
		"*": true, "A": true, "X-Auth-*": true, "X*": true, "Nats-Schedule-*": true,
		"": false, "**": false, "X**": false, "*X": false, "X*Y": false, "X-* ": false, "A B": false, " *": false, "A:*": false,
	} {
		if IsNamePattern(s) != want {
			t.Errorf("IsNamePattern(%q) = %t, want %t", s, !want, want)
		}
	}
}
