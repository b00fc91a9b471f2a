package login

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// waits is closed when a login waits for its turn.
func waits(s *site) <-chan struct{} {
	waits := make(chan struct{})
	go func() {
		for s.asking.length() == 0 {
			select {
			case <-s.running.Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		close(waits)
	}()
	return waits
}

// Turns are bounded for each browser and for all, those that wait are served in their order, and nothing is kept of
// those that are done.
func TestTurns(t *testing.T) {
	turns := newLoginTurns()
	var held []func()
	for i := range exchanges {
		release, err := turns.take(t.Context(), fmt.Sprint("b", i/ofOneBrowser))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, release)
	}
	if _, err := turns.take(t.Context(), "b0"); err != errBusy {
		t.Errorf("one more of a browser: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	order := make(chan int, inLine)
	for i := range inLine {
		go func() {
			if release, err := turns.take(ctx, fmt.Sprint("w", i)); err == nil {
				order <- i
				defer release()
			}
		}()
		eventually(t, "one more that waits", func() bool { return turns.length() == i+1 })
	}
	if _, err := turns.take(t.Context(), "other"); err != errBusy {
		t.Errorf("one more that waits: %v", err)
	}
	if _, ok := turns.takeNow(); ok {
		t.Error("one more without waiting")
	}
	for _, release := range held[:1] {
		release()
	}
	for i := range inLine {
		if got := <-order; got != i {
			t.Fatalf("%d had its turn before %d", got, i)
		}
	}
	cancel()
	for _, release := range held[1:] {
		release()
	}
	eventually(t, "that nothing is left", func() bool {
		turns.mu.Lock()
		defer turns.mu.Unlock()
		return turns.waiting == 0 && len(turns.of) == 0 && len(turns.places) == 0
	})
}
