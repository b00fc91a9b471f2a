package callout

import (
	"errors"
	"strings"
	"testing"
)

// TestRefusalsAreBounded: strangers can cause any number of refusals, and can choose part of the reason.
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
		t.Errorf("the list has %d refusals, from client %d to %d, want the newest", len(list), list[0].Client, list[len(list)-1].Client)
	}
	if n := len(list[0].Reason); n > maxReason+len("...") {
		t.Errorf("a reason has %d bytes, which is above the bound", n)
	}
}
