package claim

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// The fuzz targets compare the package with these functions, which know the rules independently of it.

// lenient reads a claim as a program would that uses encoding/json.
func lenient(data []byte) *Claim {
	type allow struct{ Allow []string }
	type fields struct {
		Headers           map[string]json.RawMessage         `json:"headers"`
		HeaderPermissions struct{ Publish, Subscribe allow } `json:"header_permissions"`
	}
	var p struct {
		fields
		Nats json.RawMessage `json:"nats"`
	}
	if json.Unmarshal(data, &p) != nil {
		return nil
	}
	var nats fields
	if len(p.Nats) > 0 && p.Nats[0] == '{' && json.Unmarshal(p.Nats, &nats) != nil {
		return nil
	}
	in := p.fields
	if len(in.Headers)+len(in.HeaderPermissions.Publish.Allow)+len(in.HeaderPermissions.Subscribe.Allow) == 0 {
		in = nats
	}
	c := &Claim{Publish: in.HeaderPermissions.Publish.Allow, Subscribe: in.HeaderPermissions.Subscribe.Allow}
	for _, name := range order(data, in.Headers) {
		c.Headers = append(c.Headers, lenientHeader(name, in.Headers[name]))
	}
	if c.empty() {
		return nil
	}
	return c
}

func lenientHeader(name string, raw json.RawMessage) Header {
	h := Header{Name: name}
	var object struct {
		Value    json.RawMessage
		Subjects []string
	}
	if json.Unmarshal(raw, &object) == nil {
		raw, h.Subjects = object.Value, object.Subjects
	}
	var value string
	if json.Unmarshal(raw, &value) == nil {
		h.Values = []string{value}
	} else {
		_ = json.Unmarshal(raw, &h.Values)
	}
	for i, v := range h.Values {
		h.Values[i] = strings.Trim(v, " \t")
	}
	return h
}

// order returns the names in the order of the text. It looks for an object that has
// just these keys, after a key that reads "headers".
func order(data []byte, in map[string]json.RawMessage) []string {
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		t, err := dec.Token()
		if err != nil {
			return nil
		}
		if t != "headers" {
			continue
		}
		var names []string
		rest := bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n:")
		ahead := json.NewDecoder(bytes.NewReader(rest))
		var m map[string]json.RawMessage
		if ahead.Decode(&m) != nil || len(m) != len(in) {
			continue
		}
		ahead = json.NewDecoder(bytes.NewReader(rest))
		_, _ = ahead.Token()
		for ahead.More() {
			key, _ := ahead.Token()
			name, ok := key.(string)
			var skip json.RawMessage
			if _, known := in[name]; !ok || !known || ahead.Decode(&skip) != nil {
				names = nil
				break
			}
			names = append(names, name)
		}
		if len(names) == len(in) {
			return names
		}
	}
}

var (
	nameRE    = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	reserveRE = regexp.MustCompile(`(?i)^(nats[-_.].*|nmqtt[-_.].*|stamp[-_.].*|x[-_.]b3[-_.].*|b3|traceparent|uber[-_.]trace[-_.]id|` +
		`accept[-_.]encoding|content[-_.]encoding|kv[-_.]operation|status|description)$`)
	badValueRE = regexp.MustCompile(`[\x00-\x08\x0a-\x1f\x7f-\x{9f}\x{2028}\x{2029}]|^[\s\x{a0}\x{feff}\p{Z}]|[\s\x{a0}\x{feff}\p{Z}]$|^$`)
	subjectRE  = regexp.MustCompile(`^([^\s.*>\x00-\x20\x7f]+\.|\*\.)*([^\s.*>\x00-\x20\x7f]+|\*|>)$`)
	patternRE  = regexp.MustCompile("^[!#$%&'+.^_`|~0-9A-Za-z-]*[*]?$")
)

// checkRules checks the rules of docs/claim.md without using the package.
func checkRules(t *testing.T, c *Claim) {
	t.Helper()
	block := "NATS/1.0\r\n"
	seen := map[string]bool{}
	for i, h := range c.Headers {
		folded := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(h.Name))
		if !nameRE.MatchString(h.Name) || reserveRE.MatchString(h.Name) || seen[folded] {
			t.Fatalf("header %d: the name %q was accepted", i, h.Name)
		}
		seen[folded] = true
		if len(h.Values) == 0 {
			t.Fatalf("header %d was accepted without a value", i)
		}
		for _, v := range h.Values {
			if !utf8.ValidString(v) || badValueRE.MatchString(v) {
				t.Fatalf("header %d: the value %q was accepted", i, v)
			}
			block += h.Name + ": " + v + "\r\n"
		}
		for _, s := range h.Subjects {
			if !utf8.ValidString(s) || !subjectRE.MatchString(s) {
				t.Fatalf("header %d: the subject %q was accepted", i, s)
			}
		}
	}
	for _, p := range append(append([]string{}, c.Publish...), c.Subscribe...) {
		if p == "" || !patternRE.MatchString(p) {
			t.Fatalf("the claim was accepted with the name pattern %q", p)
		}
	}
	if len(c.Headers) > 64 || len(block)+2 > 16384 {
		t.Fatalf("a claim of %d headers and %d bytes was accepted", len(c.Headers), len(block)+2)
	}
}
