package callout

import (
	"context"
	"fmt"
	"testing"
	"time"

	"stamp/internal/callout/session"
)

// closingSource is a source whose Close waits until all of several are being closed.
type closingSource struct {
	session.Settings
	session.Source
	begun chan<- struct{}
	all   <-chan struct{}
}

func (s closingSource) Open(context.Context, session.Env) (session.Source, error) { return s, nil }

func (s closingSource) Close() error {
	s.begun <- struct{}{}
	<-s.all
	return nil
}

// While a source waits for its provider at the end, the others have been told of the end too.
func TestSourcesCloseAtOnce(t *testing.T) {
	cfg := *newGroup(t).base
	cfg.sources = nil
	const sources = 3
	begun, all := make(chan struct{}, sources), make(chan struct{})
	for n := range sources {
		settings := session.Defaults()
		settings.Name = fmt.Sprint("source", n)
		cfg.sources = append(cfg.sources, source{Opener: closingSource{Settings: settings, begun: begun, all: all}})
	}
	h, err := New(t.Context(), &cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		h.Close()
		close(closed)
	}()
	for n := range sources {
		select {
		case <-begun:
		case <-time.After(5 * time.Second):
			t.Errorf("%d of %d sources are being closed, while one of them waits", n, sources)
		}
	}
	close(all)
	<-closed
}
