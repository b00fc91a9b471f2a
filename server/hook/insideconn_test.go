package hook

import (
	"testing"
	"time"
)

// A connection of the handler that is closed each time after it was opened reconnects less and less often, because each
// attempt writes some lines to the log. After a connection that has lasted the delay starts again.
func TestReconnectDelayGrows(t *testing.T) {
	d := &reconnectDelay{}
	last := time.Duration(0)
	for range 20 {
		delay := d.next(1) // nats.go counts attempts anew after each connection
		if delay < last {
			t.Fatalf("the delay shrank to %s after %s", delay, last)
		}
		last = delay
	}
	if last < time.Second || last >= reconnectQuiet {
		t.Errorf("the longest delay is %s, want a second or more, and less than reconnectQuiet", last)
	}
	d.last = time.Now().Add(-2 * reconnectQuiet)
	if delay := d.next(1); delay >= time.Second {
		t.Errorf("the delay after a connection that has lasted is %s", delay)
	}
}
