package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"stamp.example/claim"
)

// A template that has a long name many times is refused once it is larger than a header block can be. What it
// allocates does not grow with the length of the name.
func TestExpansionIsBounded(t *testing.T) {
	tmpl := &claim.Claim{Headers: []claim.Header{{Name: "X", Values: []string{strings.Repeat("{{name()}}", 1600)}}}}
	allocated := func(n int) int64 {
		v := Vars{Name: strings.Repeat("n", n)}
		return testing.Benchmark(func(b *testing.B) {
			for range b.N {
				if _, err := expand(tmpl, v, claim.Limits{}); n > 100 && !errors.Is(err, ErrTemplateBytes) {
					b.Fatal(err)
				}
			}
		}).AllocedBytesPerOp()
	}
	before := allocated(500)
	for n := 1000; n <= 8000; n *= 2 {
		if now := allocated(n); now > before+before/50 { // the runtime's own allocations are counted too
			t.Errorf("a name of %d bytes allocates %d bytes, one of half of it %d", n, now, before)
		} else {
			before = now
		}
	}
}

// Each line is written once: a template with many calls allocates in proportion to the bytes of its result.
func TestExpansionIsLinear(t *testing.T) {
	v := Vars{Name: "n"}
	for i := range maxTemplateLines {
		v.Tags = append(v.Tags, fmt.Sprintf("a:%02d", i))
	}
	allocated := func(n int) int64 {
		tmpl := &claim.Claim{Headers: []claim.Header{{Name: "X", Values: []string{"{{tag(a)}}" + strings.Repeat("{{name()}}", n)}}}}
		return testing.Benchmark(func(b *testing.B) {
			for range b.N {
				if _, err := expand(tmpl, v, claim.MaxLimits); err != nil {
					b.Fatal(err)
				}
			}
		}).AllocedBytesPerOp()
	}
	before := allocated(100)
	for n := 200; n <= 800; n *= 2 {
		now := allocated(n)
		if now > before*5/2 {
			t.Errorf("%d calls allocate %d bytes, half of them %d", n, now, before)
		}
		before = now
	}
}
