package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
)

// sayer prints one line: who did what.
type sayer func(who, format string, args ...any)

// report prints what each side does, as it happens, and keeps which promises held.
type report struct {
	mu       sync.Mutex
	out      io.Writer
	promises []promise
}

type promise struct {
	text string
	err  error
}

func (r *report) say(who, format string, args ...any) {
	line := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) { // headers come from anybody
			return '?'
		}
		return c
	}, fmt.Sprintf(format, args...))
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(r.out, "%-9s%s\n", who, line)
}

// promise notes whether a promise held: err says what went wrong.
func (r *report) promise(text string, err error) {
	r.promises = append(r.promises, promise{text, err})
}

// summary prints the promises and reports whether all held.
func (r *report) summary() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintln(r.out)
	kept := len(r.promises) > 0
	for _, p := range r.promises {
		if p.err == nil {
			_, _ = fmt.Fprintf(r.out, "PASS  %s\n", p.text)
			continue
		}
		kept = false
		_, _ = fmt.Fprintf(r.out, "FAIL  %s: %v\n", p.text, p.err)
	}
	return kept
}
