package claim

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stamp.example/claim/field"
)

func TestFromConfig(t *testing.T) {
	got, err := FromConfig(
		map[string]any{
			"Session": "x",
			"Roles":   []any{"a", "b"},
			"Auth":    map[string]any{"value": " y ", "subjects": []any{"api.>"}},
		},
		map[string]any{"publish": map[string]any{"allow": []any{"Session"}}}, Limits{})
	want := &Claim{
		Headers: []Header{{"Auth", []string{"y"}, []string{"api.>"}}, {Name: "Roles", Values: []string{"a", "b"}}, {Name: "Session", Values: []string{"x"}}},
		Publish: []string{"Session"},
	}
	if err != nil || !same(got, want) {
		t.Errorf("FromConfig returned error %v; the claim is the wanted one: %t", err, same(got, want))
	}
	for _, none := range []any{nil, map[string]any{}} {
		if c, err := FromConfig(none, none, Limits{}); c != nil || err != nil {
			t.Errorf("without fields, FromConfig returned a claim: %t, error %v; want neither", c != nil, err)
		}
	}
}

func TestFromConfigRefused(t *testing.T) {
	hs := func(v any) map[string]any { return map[string]any{"A": v} }
	tests := []struct {
		name                 string
		headers, permissions any
		want                 error
		hint                 bool
	}{
		{"string", "SECRET", nil, ErrHeadersForm, false},
		{"integer", hs(int64(4711)), nil, ErrValueForm, true},
		{"boolean", hs(true), nil, ErrValueForm, true},
		{"float", hs(1.5), nil, ErrValueForm, true},
		{"date", hs(time.Now()), nil, ErrValueForm, true},
		{"integer in list", hs([]any{"SECRET", int64(1)}), nil, ErrValueForm, true},
		{"null", hs(nil), nil, ErrValueForm, false},
		{"list in list", hs([]any{[]any{"SECRET"}}), nil, ErrValueForm, false},
		{"bytes", hs("SECRET\xff"), nil, nil, false},
		{"subject of a number", hs(map[string]any{"value": "SECRET", "subjects": []any{int64(1)}}), nil, ErrSubjectsForm, true},
		{"no subjects", hs(map[string]any{"value": "SECRET", "subjects": []any{}}), nil, ErrSubjectsEmpty, false},
		{"names", map[string]any{"a-b": "SECRET", "A_B": "SECRET"}, nil, field.ErrNameTwice, false},
		{"permissions", nil, map[string]any{"publish": []any{"A"}}, ErrPermissionsForm, false},
		{"pattern", nil, map[string]any{"subscribe": map[string]any{"allow": []any{"A B"}}}, field.ErrNamePattern, false},
	}
	for _, tt := range tests {
		c, err := FromConfig(tt.headers, tt.permissions, Limits{})
		if c != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: FromConfig returned error %v, want %v and no claim", tt.name, err, tt.want)
			continue
		}
		if text := err.Error(); strings.Contains(text, "hint: put it in quotes") != tt.hint || strings.Contains(text, "SECRET") {
			t.Errorf("%s: hint is wrong, or a value is in the text", tt.name)
		}
	}
}
