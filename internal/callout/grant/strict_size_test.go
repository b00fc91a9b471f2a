package grant

import (
	"math/bits"
	"testing"
)

// Two integers that calculations allow cannot overflow to a third one that they allow, whatever the size of an int.
// The step cross of scripts/test runs this on 32 bits.
func TestSumsOfIntegersDoNotOverflow(t *testing.T) {
	largest := maxInt - 1
	if requireFinite(largest) != nil {
		t.Fatalf("the largest number %d is refused", largest)
	}
	for _, sum := range []int{largest + largest, -largest - largest, largest + 1} {
		if requireFinite(sum) == nil {
			t.Errorf("a sum that is %d on %d bits is not refused", sum, bits.UintSize)
		}
	}
	func() {
		defer func() { _ = recover() }()
		t.Errorf("a product that overflows is %v", multiply(1<<16, largest))
	}()
}
