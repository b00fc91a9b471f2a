package openid

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// Reading a token or a key set costs work in proportion to its size: twice the input takes twice the allocations, also for
// inputs that are made to be expensive.
func TestCostIsLinear(t *testing.T) {
	c := Defaults()
	c.algorithms = algorithms
	token := func(payload string) string {
		part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		return part(`{"alg":"ES256","kid":"k"}`) + "." + part(payload) + "." + part(strings.Repeat("s", 64))
	}
	parse := func(payload string) { _, _ = c.ParseToken(token(payload)) }
	keys := func(body string) { _, _, _ = parseKeys([]byte(body)) }
	for name, f := range map[string]struct {
		read  func(string)
		input func(n int) string
	}{
		"claims, nested":    {parse, func(n int) string { return strings.Repeat(`{"a":`, n/6) + "1" + strings.Repeat("}", n/6) }},
		"claims, many":      {parse, func(n int) string { return `{"a":1` + strings.Repeat(`,"a":[1]`, n/8) + "}" }},
		"claims, cut":       {parse, func(n int) string { return strings.Repeat("[", n) }},
		"keys, many":        {keys, func(n int) string { return `{"keys":[{}` + strings.Repeat(`,{"kty":"x"}`, n/12) + "]}" }},
		"keys, one of many": {keys, func(n int) string { return `{"keys":[{"a":1` + strings.Repeat(`,"a":1`, n/6) + "}]}" }},
		"keys, large moduli": {keys, func(n int) string {
			return fmt.Sprintf(`{"keys":[{"kty":"RSA","e":"AQAB","n":%q}]}`, strings.Repeat("A", n))
		}},
		"keys, no list": {keys, func(n int) string { return `{"keys":` + strings.Repeat("[", n) }},
	} {
		work := func(n int) float64 {
			input := f.input(n)
			return testing.AllocsPerRun(3, func() { f.read(input) })
		}
		if once, twice := work(20_000), work(40_000); twice > 2.2*once+100 {
			t.Errorf("%s: %.0f allocations, and %.0f for twice the input", name, once, twice)
		}
	}
}
