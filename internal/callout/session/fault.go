package session

import (
	"fmt"
	"path"
	"runtime"
	"strings"
)

// Fault returns err with the function, file and line of the panic that the calling
// deferred function has just recovered. The value of the panic is left out, because
// it may hold a credential.
func Fault(err error) error {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for panicked := false; ; {
		frame, more := frames.Next()
		if panicked && !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Errorf("%w (%s, %s:%d)", err, path.Base(frame.Function), path.Base(frame.File), frame.Line)
		}
		panicked = panicked || frame.Function == "runtime.gopanic"
		if !more {
			return err
		}
	}
}
