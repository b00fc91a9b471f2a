// Package sourcetest is for the tests of session sources.
package sourcetest

import (
	"log/slog"
	"testing"

	"stamp/server/callout/session"
	"stamp/server/conf"
)

// Parse is a source's.
type Parse func(conf.Node, *conf.Faults) session.Opener

// Open parses and opens a source, which is closed when the test ends.
func Open(t testing.TB, parse Parse, text string) session.Source {
	t.Helper()
	opener, err := read(t, parse, text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := opener.Open(t.Context(), session.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Faults returns what is wrong with a source's block.
func Faults(t testing.TB, parse Parse, text string) error {
	t.Helper()
	_, err := read(t, parse, text)
	return err
}

func read(t testing.TB, parse Parse, text string) (session.Opener, error) {
	t.Helper()
	n, err := conf.ParseString(text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	opener := parse(n, &faults)
	return opener, faults.Err()
}
