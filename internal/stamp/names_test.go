package stamp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"stamp.example/claim/field"
)

func TestNameSet(t *testing.T) {
	small := []string{"Session", "X-Auth-*", "X-Auth-User*", "Z*"}
	large := slices.Clone(small)
	large = append(large, strings.Repeat("l", 100), strings.Repeat("m", 100)+"*")
	for i := range 1000 {
		large = append(large, fmt.Sprintf("X-Name-%d", i), fmt.Sprintf("Y-%d-*", i))
	}
	tests := []struct {
		name         string
		small, large bool
	}{
		{"Session", true, true},
		{"sESSION", true, true},
		{"Session2", false, false},
		{"Sessio", false, false},
		{"", false, false},
		{"X-Auth-", true, true},
		{"x.auth_", true, true},
		{"X-Auth", false, false},
		{"X-Auth-User-Id", true, true},
		{"X-Autho", false, false},
		{"z", true, true},
		{"~", false, false},
		{"!", false, false},
		{"x_name.0", false, true},
		{"X-NAME-999", false, true},
		{"X-Name-1000", false, false},
		{"y-999-", false, true},
		{"Y-10-0", false, true},
		{"Y-1000-0", false, false},
		{strings.Repeat("l", 62), false, false},
		{strings.Repeat("l", 63), false, false},
		{strings.Repeat("L", 100), false, true},
		{strings.Repeat("l", 101), false, false},
		{strings.Repeat("M", 100) + "more", false, true},
		{strings.Repeat("M", 99), false, false},
	}
	for _, tt := range tests {
		for i, want := range []bool{tt.small, tt.large} {
			set := mustNames(t, [][]string{small, large}[i]...)
			if got := set.Has([]byte(tt.name)); got != want {
				t.Errorf("set %d has the name %q: %t, want %t", i, tt.name, got, want)
			}
		}
	}
	if !mustNames(t, "A", "*").Has([]byte("anything")) || mustNames(t).Has([]byte("a")) {
		t.Error("the full or the empty set is wrong")
	}
}

func TestNewNameSetRefuses(t *testing.T) {
	for _, bad := range []string{"", "A B", "A:", "*A", "A*B", "**", "A**", "A(", "\u00e9*"} {
		if _, err := NewNameSet("A", bad); !errors.Is(err, field.ErrNamePattern) {
			t.Errorf("pattern %q: expected ErrNamePattern; found %v", bad, err)
		}
	}
}
