package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"stamp/internal/callout/session/internal/openid"
)

// rounds tells a pace of rounds of good answers. Sessions wait for a turn, unless idle is set.
func (p *pace) rounds(n int, took time.Duration, idle bool) {
	for range n {
		if !idle {
			p.mu.Lock()
			p.short = true
			p.mu.Unlock()
		}
		for range p.now() {
			p.answered(time.Now(), took, nil)
		}
	}
}

// The limit grows by one in each round while sessions wait. If the provider cannot keep up, the limit is halved. It stays
// within its bounds.
func TestPace(t *testing.T) {
	const quick = 50 * time.Millisecond
	expect := func(p *pace, what string, want int) {
		t.Helper()
		if got := p.now(); got != want {
			t.Errorf("%s: the limit is %d at once, want %d", what, got, want)
		}
	}
	p := newPace(40)
	expect(p, "at first", atOnce)
	p.rounds(10, quick, true)
	expect(p, "nobody waits", atOnce)
	p.rounds(10, quick, false)
	expect(p, "sessions wait", atOnce+10)
	p.rounds(10, 3*quick, false)
	expect(p, "the provider is slower with more requests", atOnce+10)
	p.rounds(100, 3*quick, false)
	expect(p, "the provider is slower for long", 40)

	busy := &openid.Unavailable{Status: http.StatusTooManyRequests}
	sent := time.Now()
	for range 20 {
		p.answered(sent, quick, fmt.Errorf("ask: %w", busy))
	}
	expect(p, "all that were under way are refused", 20)
	for range 10 {
		time.Sleep(time.Microsecond)
		p.answered(time.Now(), quick, context.DeadlineExceeded)
	}
	expect(p, "no answers", 1)
	p.rounds(1, quick, false)
	expect(p, "a good answer", 2)
	if p := newPace(3); p.now() != 3 {
		t.Errorf("the limit at the start is %d at once, want 3", p.now())
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {&openid.Refusal{Code: "invalid_grant", Status: 400}, false}, {&openid.Refusal{Status: 403}, false},
		{&openid.Unavailable{Status: 429}, true}, {&openid.Unavailable{Status: 503}, true}, {&openid.Unavailable{Status: 302}, false},
		{errors.New("reset"), true}, {context.DeadlineExceeded, true},
	} {
		if overloaded(c.err) != c.want {
			t.Errorf("overloaded(%#v) = %t, want %t", c.err, !c.want, c.want)
		}
	}
}

// As many get a turn as the limit says. One more gets a turn when one leaves.
func TestPaceOfTurns(t *testing.T) {
	p := newPace(2)
	for range 2 {
		if !p.enter(t.Context()) {
			t.Fatal("a turn within the limit was not given")
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if p.enter(ended) {
		t.Error("a third one got a turn, with a limit of 2")
	}
	entered := make(chan bool)
	go func() { entered <- p.enter(t.Context()) }()
	p.leave()
	if !<-entered {
		t.Error("nobody gets a turn after one has left")
	}
}
