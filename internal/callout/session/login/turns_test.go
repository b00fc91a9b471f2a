package login

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// waits returns a channel that is closed when a login waits for its turn.
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

// Turns are bounded for each browser and for all together, those who wait are served in their order, and nothing is kept of
// those who are done.
func TestTurns(t *testing.T) { synctest.Test(t, testTurns) }

func testTurns(t *testing.T) {
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
		t.Errorf("one more of the same browser: expected errBusy; found %v", err)
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
		synctest.Wait() // until it waits for its turn
	}
	if n := turns.length(); n != inLine {
		t.Errorf("%d wait for a turn, want %d", n, inLine)
	}
	if _, err := turns.take(t.Context(), "other"); err != errBusy {
		t.Errorf("one more than may wait: expected errBusy; found %v", err)
	}
	if _, ok := turns.takeNow(); ok {
		t.Error("takeNow gives a turn, though all are taken")
	}
	held[0]()
	for i := range inLine {
		if got := <-order; got != i {
			t.Fatalf("number %d had its turn before number %d", got, i)
		}
	}
	cancel()
	for _, release := range held[1:] {
		release()
	}
	synctest.Wait()
	if turns.waiting != 0 || len(turns.of) != 0 || len(turns.places) != 0 {
		t.Error("turns keeps something after all have left")
	}
}
