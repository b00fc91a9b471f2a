package stamp

import (
	"errors"
	"strings"
	"testing"

	"stamp.example/claim/field"
)

var subjects = []struct {
	filter, subject string
	want            bool
}{
	{"a", "a", true},
	{"a", "b", false},
	{"a", "a.b", false},
	{"a.b", "a", false},
	{"a.b", "a.b", true},
	{"a.b", "A.b", false},
	{"*", "a", true},
	{"*", "a.b", false},
	{"*", "", false},
	{">", "a", true},
	{">", "a.b.c", true},
	{">", "", false},
	{">", "a..b", false},
	{">", ".a", false},
	{">", "a.", false},
	{"a.*", "a.b", true},
	{"a.*", "a", false},
	{"a.*", "a.", false},
	{"a.*", "a.b.c", false},
	{"a.*.c", "a.b.c", true},
	{"a.*.c", "a..c", false},
	{"a.*.c", "a.b.d", false},
	{"*.b", "a.b", true},
	{"*.b", ".b", false},
	{"a.>", "a", false},
	{"a.>", "a.", false},
	{"a.>", "a.b", true},
	{"a.>", "a.b.c", true},
	{"a.>", "ab.c", false},
	{"a.*.>", "a.b", false},
	{"a.*.>", "a.b.c.d", true},
	{"ab.*", "a.c", false},
	{"a.*", "ab.c", false},
	// Wildcards in the subject of a message are literal, and get nobody a stamp.
	{"a.b", "a.*", false},
	{"a.b", "a.>", false},
	{"a.b", ">", false},
	{"a.*", "a.*", true},
	{"a.>", "a.>", true},
	{"größe.*", "größe.ü", true},
}

func TestMatch(t *testing.T) {
	for _, tt := range subjects {
		filters, err := parseFilters([]string{tt.filter})
		if err != nil {
			t.Fatal(err)
		}
		if got := filters[0].match([]byte(tt.subject)); got != tt.want {
			t.Errorf("filter %q matches subject %q: %t, want %t", tt.filter, tt.subject, got, tt.want)
		}
		if got := matchBySplitting(tt.filter, tt.subject); got != tt.want {
			t.Errorf("the oracle: %q on %q: %t, want %t", tt.filter, tt.subject, got, tt.want)
		}
	}
}

func TestParseFilters(t *testing.T) {
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a*", "*a.b", "a.b>", ">>", "a b", "a\tb", "a\x00", "a\x7f", "\xff"} {
		if _, err := parseFilters([]string{"ok", bad}); !errors.Is(err, field.ErrSubject) || !strings.HasPrefix(err.Error(), "subject 2 of 2") {
			t.Errorf("filter %q: expected an error about subject 2 of 2; found %v", bad, err)
		}
	}
}
