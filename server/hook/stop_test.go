package hook

import (
	"context"
	"testing"

	"stamp/internal/callout"
)

// When the server ends, a handler that was replaced by a reload ends too, though it still answers callouts.
func TestStopEndsReplacedHandlers(t *testing.T) {
	h := &Hook{}
	handler, err := callout.New(t.Context(), &callout.Config{}, callout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	old := &insideHandler{handler: handler}
	old.running, old.endRun = context.WithCancel(t.Context())
	h.callout.replaced.Add(1)
	h.callout.leaving.Store(old, nil)
	go func() {
		<-old.running.Done() // the last callout is answered only then
		h.callout.forget(old)
	}()
	h.Stop(nil)
	if old.running.Err() == nil {
		t.Error("a handler that was replaced goes on after the end of the server")
		old.endRun()
	}
}
