package session

import (
	"errors"
	"strings"
	"testing"
)

// A fault is known by its function and line, and what the panic said is not shown.
func TestFaultHasAPlace(t *testing.T) {
	for name, do := range map[string]func(){
		"panic":     func() { panic("s3cret") },
		"index":     func() { _ = strings.Fields("s3cret")[len("s3cret")] },
		"nil field": func() { var l *Lookup; _ = l.settings.Name },
	} {
		var err error
		func() {
			defer func() {
				if recover() != nil {
					err = Fault(ErrFault)
				}
			}()
			do()
		}()
		if !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), "TestFaultHasAPlace") ||
			!strings.Contains(err.Error(), "fault_test.go:") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
