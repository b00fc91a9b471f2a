package hook

import (
	"testing"
	"time"
)

// A connection of the handler that ends each time that it was made is made less and less often, since each time is some
// lines in the log. One that has lasted begins anew.
func TestRedialerSlowsDown(t *testing.T) {
	r := &redialer{}
	last := time.Duration(0)
	for range 20 {
		wait := r.pause(1) // nats.go counts anew after each connection
		if wait < last {
			t.Fatalf("%s after %s", wait, last)
		}
		last = wait
	}
	if last < time.Second || last >= redialQuiet {
		t.Errorf("the longest wait is %s", last)
	}
	r.last = time.Now().Add(-2 * redialQuiet)
	if wait := r.pause(1); wait >= time.Second {
		t.Errorf("%s after a connection that has lasted", wait)
	}
}
