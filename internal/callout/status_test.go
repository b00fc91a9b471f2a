package callout

import (
	"errors"
	"strings"
	"testing"
)

// TestRefusalsAreBounded: strangers cause refusals, and part of a reason may be theirs.
func TestRefusalsAreBounded(t *testing.T) {
	var r refusals
	long := errors.New(strings.Repeat("é", maxReason))
	for i := range 3 * keptRefusals {
		q := &request{}
		q.ClientID = uint64(i)
		r.add(q, long)
	}
	list := r.newest()
	if len(list) != keptRefusals || list[0].Client != 3*keptRefusals-1 || list[keptRefusals-1].Client != 2*keptRefusals {
		t.Errorf("%d refusals from client %d to %d", len(list), list[0].Client, list[len(list)-1].Client)
	}
	if n := len(list[0].Reason); n > maxReason+len("...") {
		t.Errorf("a reason has %d bytes", n)
	}
}
