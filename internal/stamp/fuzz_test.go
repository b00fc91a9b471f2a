package stamp

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzAppend stamps arbitrary blocks. In the result every library must see the
// claim, and the publisher's other lines must be unchanged.
func FuzzAppend(f *testing.F) {
	for i, block := range hostileBlocks {
		f.Add("Session", "0af3", "more", "x_auth.User", "ann", "api.*", []string{"api.a", "b"}[i%2], []byte(block))
	}
	f.Fuzz(func(t *testing.T, name, v1, v2, scopedName, scopedValue, filter, subject string, block []byte) {
		headers := []Header{
			{Name: name, Values: []string{v1, v2}},
			{Name: scopedName, Values: []string{scopedValue}, Subjects: []string{filter}},
		}
		s, err := Compile(headers, Options{})
		if err != nil {
			return
		}
		before := bytes.Clone(block)
		var report Report
		out, err := s.AppendReport([]byte("dst"), []byte(subject), block, &report)
		stripped := report.Stripped
		if !bytes.Equal(before, block) || !bytes.HasPrefix(out, []byte("dst")) {
			t.Fatal("the block or the head of dst was changed")
		}
		if err != nil {
			if len(out) != len("dst") {
				t.Error("dst grew with an error")
			}
			return
		}
		out = out[len("dst"):]
		want := wanted(headers, subject)
		if expect, n := rebuild(string(block), headers, want); string(out) != expect || stripped != n {
			t.Errorf("got %q, %d stripped\nwant %q, %d", out, stripped, expect, n)
		}
		if len(out)-len(block) > s.MaxLen() {
			t.Error("the block grew by more than MaxLen")
		}
		for _, fault := range checkReaders(out, want) {
			t.Errorf("a client library reads something else: %v, in %q", fault, out)
		}
		again, err := s.Append(nil, []byte(subject), out)
		if err != nil || !bytes.Equal(again, out) {
			t.Errorf("stamped again: error %v, same bytes %t", err, bytes.Equal(again, out))
		}
	})
}

// rebuild splits a well-formed block into its lines and joins those that are kept.
// It counts the others.
func rebuild(block string, headers, want []Header) (string, int) {
	var stamped strings.Builder
	for _, h := range want {
		for _, v := range h.Values {
			stamped.WriteString(h.Name + ": " + strings.Trim(v, " \t") + "\r\n")
		}
	}
	switch {
	case block == "" && stamped.Len() == 0:
		return "", 0
	case block == "":
		block = "NATS/1.0\r\n\r\n"
	}
	all := strings.SplitAfter(strings.TrimSuffix(block, "\r\n"), "\r\n")
	kept, stripped := all[0], 0
	for _, l := range all[1:] {
		name, _, _ := strings.Cut(l, ":")
		taken := false
		for _, h := range headers {
			taken = taken || sameName(name, h.Name)
		}
		switch {
		case taken:
			stripped++
		case l != "\r\n": // of two blank lines at the end
			kept += l
		}
	}
	return kept + stamped.String() + "\r\n", stripped
}

// The grammar of grammar.go as a regular expression, over bytes as Latin-1.
var grammar = regexp.MustCompile(`\A` +
	`NATS/1\.0(?: [1-9][0-9]{2} [\x21-\x7e][\x20-\x7e]*)?\r\n` +
	"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + `[\t\x20-\x7e\x{80}-\x{ff}]*\r\n)*` +
	`\r\n(?:\r\n)?\z`)

// breaks are the characters outside ASCII at which some readers break lines.
var breaks = regexp.MustCompile(`[\x{80}-\x{9f}\x{2028}\x{2029}]`)

var bareStatus = regexp.MustCompile(`\ANATS/1\.0 [1-9][0-9]{2}\r\n\r\n\z`)

func fitsGrammar(block []byte) bool {
	latin1 := make([]rune, len(block))
	for i, c := range block {
		latin1[i] = rune(c)
	}
	return grammar.MatchString(string(latin1)) && utf8.Valid(block) && !breaks.Match(block)
}

func FuzzGrammar(f *testing.F) {
	for _, block := range hostileBlocks {
		f.Add([]byte(block))
	}
	stamped, err := Compile(claims[1], Options{})
	if err != nil {
		f.Fatal(err)
	}
	set, err := NewNameSet("X-*", "B")
	if err != nil {
		f.Fatal(err)
	}
	stripping, err := Compile(nil, Options{Strip: []*NameSet{set}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		fits := len(block) == 0 || fitsGrammar(block)
		for i, s := range []*Stamp{stamped, stripping} {
			out, err := s.Append(nil, nil, block)
			bare := s == stripping && bareStatus.Match(block)
			if want := fits || bare; (err == nil) != want {
				t.Errorf("stamp %d: error %v, the grammar fits %t: %q", i, err, want, block)
			}
			if err == nil && len(out) > 0 && !bare && (!fitsGrammar(out) || bytes.HasSuffix(out, []byte("\r\n\r\n\r\n"))) {
				t.Errorf("stamp %d: what comes out is not what may go in: %q", i, out)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, tt := range subjects {
		f.Add(tt.filter, tt.subject)
	}
	f.Fuzz(func(t *testing.T, text, subject string) {
		filters, err := parseFilters([]string{text})
		if err != nil {
			return
		}
		if got, want := filters[0].match([]byte(subject)), matchBySplitting(text, subject); got != want {
			t.Errorf("filter %q matches subject %q: %t, want %t", text, subject, got, want)
		}
	})
}

func FuzzNameSet(f *testing.F) {
	f.Add("Session X-Auth-*", "session")
	f.Add("Session X-Auth-*", "x_auth.user")
	f.Add("a b c d e f g h i A-* a-b-* a-bc* B*", "A.B_C")
	f.Add("*", "anything")
	f.Add("X-* | x-auth-email", "X_Auth_Email")
	f.Add("X-* A | x-auth-* B", "X_Other")
	f.Add("* | * ", "anything")
	f.Fuzz(func(t *testing.T, patterns, name string) {
		in, out, _ := strings.Cut(patterns, "|")
		set, err := NewNameSet(strings.Fields(in)...)
		if err != nil {
			return
		}
		except, err := NewNameSet(strings.Fields(out)...)
		if err != nil {
			return
		}
		want := matches(in, name) && !matches(out, name)
		if got := set.Without(except).Has([]byte(name)); got != want {
			t.Errorf("name %q is in the set %q: %t, want %t", name, patterns, got, want)
		}
		// Exceptions of exceptions add up.
		if set.Without(except).Without(set).Has([]byte(name)) {
			t.Errorf("%q is in %q without all of it", name, patterns)
		}
	})
}

func matches(patterns, name string) bool {
	for _, p := range strings.Fields(patterns) {
		prefix, isPrefix := strings.CutSuffix(p, "*")
		if sameName(p, name) || isPrefix && len(prefix) <= len(name) && sameName(prefix, name[:len(prefix)]) {
			return true
		}
	}
	return false
}
