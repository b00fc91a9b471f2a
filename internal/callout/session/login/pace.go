package login

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"stamp/internal/callout/session/internal/openid"
)

const (
	// atOnce is how many refreshes run at once at first.
	atOnce = 16
	// defaultRefreshes is the default of the most that ever run at once.
	defaultRefreshes = 256
	maxRefreshes     = 4096
)

// pace limits how many refreshes run at once. The limit grows by one for each round of good answers
// while sessions wait for their turn, up to a bound. It is halved when the provider cannot keep up
// (additive increase, multiplicative decrease, as in TCP). It does not grow while the provider takes
// twice as long to answer as it did with fewer requests: more of them would only wait there.
type pace struct {
	freed chan struct{} // has an element if enter has to look again

	mu       sync.Mutex
	most     int
	limit    int
	running  int
	short    bool // a session waited for its turn since the limit was changed last
	halved   time.Time
	answers  int           // good ones in this round
	took     time.Duration // all of them together
	shortest time.Duration // mean time of the best round, which is forgotten slowly
}

func newPace(most int) *pace {
	return &pace{freed: make(chan struct{}, 1), most: most, limit: min(atOnce, most)}
}

// enter waits for a turn. It returns false if ctx has ended. The caller calls leave when the refresh
// is over.
func (p *pace) enter(ctx context.Context) bool {
	for {
		p.mu.Lock()
		if p.running < p.limit {
			p.running++
			p.mu.Unlock()
			return true
		}
		p.short = true
		p.mu.Unlock()
		select {
		case <-p.freed:
		case <-ctx.Done():
			return false
		}
	}
}

func (p *pace) leave() {
	p.mu.Lock()
	p.running--
	p.mu.Unlock()
	p.signal()
}

func (p *pace) signal() {
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

// answered is told of each answer of the provider to a refresh: when the request was sent, how long
// it took, and its error.
func (p *pace) answered(sent time.Time, took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if overloaded(err) {
		if sent.After(p.halved) { // the requests that were under way meanwhile say the same once more
			p.limit, p.halved = max(p.limit/2, 1), time.Now()
			p.newRound()
		}
		return
	}
	p.answers++
	p.took += took
	if p.answers < p.limit {
		return
	}
	mean := p.took / time.Duration(p.answers)
	if p.shortest == 0 || mean < p.shortest {
		p.shortest = mean
	}
	if p.short && mean <= 2*p.shortest && p.limit < p.most {
		p.limit++
		p.signal()
	}
	p.shortest += (mean - p.shortest) / 32
	p.newRound()
}

// newRound begins to count anew. The caller holds the lock.
func (p *pace) newRound() { p.answers, p.took, p.short = 0, 0, false }

// now returns the limit.
func (p *pace) now() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// overloaded reports whether an error of a refresh says that the provider cannot keep up: it is one
// with the status 429 or 5xx, or there was no answer.
func overloaded(err error) bool {
	var refused *openid.Refusal
	if err == nil || errors.As(err, &refused) {
		return false
	}
	var away *openid.Unavailable
	if errors.As(err, &away) && away.Status != 0 {
		return away.Status == http.StatusTooManyRequests || away.Status >= 500
	}
	return true
}
