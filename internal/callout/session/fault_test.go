package session

import (
	"errors"
	"strings"
	"testing"
)

// The error of a panic names its function and line, and does not show its text.
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
			t.Errorf("panic of kind %s: expected function and line, and nothing of what it said; found %v", name, err)
		}
	}
}
