package openid

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/web"
)

// Times of requests.
const (
	// pause is between two requests for the same thing, whoever wants it: whoever makes tokens up must
	// not make us hammer the provider.
	pause = 10 * time.Second
	// firstRetry is after a request that failed; it doubles, up to lastRetry, so that all is well within
	// seconds of the provider's recovery.
	firstRetry = time.Second
	lastRetry  = 10 * time.Second
	// maxRetryAfter bounds what a provider may ask for.
	maxRetryAfter = 5 * time.Minute
)

// Unavailable is the error of a provider that does not answer, or not as it should: the same may
// succeed later.
type Unavailable struct {
	reason     error
	RetryAfter time.Duration // as the provider wishes; 0: it says nothing
}

func (e *Unavailable) Error() string { return e.reason.Error() }

// Unwrap is for errors.Is.
func (e *Unavailable) Unwrap() error { return e.reason }

func unavailable(text string) error { return &Unavailable{reason: errors.New(text)} }

// failed is the error of an answer whose status is not the one of success.
func failed(answer *web.Answer) error {
	return &Unavailable{reason: errors.New("status " + strconv.Itoa(answer.Status)), RetryAfter: retryAfter(answer.Header, time.Now())}
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// backoff is how long to wait after a number of failures in a row, the last of which is err. It differs
// between processes, which do not all ask at once then.
func backoff(failures int, err error) time.Duration {
	wait := min(firstRetry<<min(max(failures-1, 0), 10), lastRetry)
	wait -= rand.N(wait / 4)
	var u *Unavailable
	if errors.As(err, &u) && u.RetryAfter > 0 {
		return max(wait, u.RetryAfter+rand.N(u.RetryAfter/8+1))
	}
	return wait
}

// remote is something of the provider that is asked for again and again, by one request at a time. No
// lock is held meanwhile: whoever wants it waits as long as he wishes.
type remote[T any] struct {
	ask     func(context.Context) (T, error)
	keep    func(error) bool // tells whether an error is an answer too; nil: none is
	timeout time.Duration
	flight  singleflight.Group

	mu       sync.Mutex
	value    T
	has      bool
	fetched  time.Time // when the value came
	next     time.Time // no request before
	failures int       // in a row
	failure  error     // of the last request; nil: it went well
}

// snapshot is what is held.
type snapshot[T any] struct {
	value   T
	has     bool
	age     time.Duration
	failure error
	next    time.Time
}

func (r *remote[T]) held() snapshot[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return snapshot[T]{r.value, r.has, time.Since(r.fetched), r.failure, r.next}
}

// refresh asks, unless it is too early for that: then it returns what came of the last request. It joins
// a request that is under way, which goes on when ctx ends.
func (r *remote[T]) refresh(ctx context.Context) error {
	ch := r.flight.DoChan("", func() (any, error) {
		r.mu.Lock()
		early, failure := time.Now().Before(r.next), r.failure
		r.mu.Unlock()
		if early {
			return nil, failure
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
		defer cancel()
		value, err := r.answer(ctx)
		r.done(value, err)
		return nil, err
	})
	select {
	case result := <-ch:
		return result.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answer is ask. This may be inside the server, which a fault in reading an answer must not end.
func (r *remote[T]) answer(ctx context.Context) (value T, err error) {
	defer func() {
		if recover() != nil {
			err = session.Fault(session.ErrFault)
		}
	}()
	return r.ask(ctx)
}

func (r *remote[T]) done(value T, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
	if err == nil || r.keep != nil && r.keep(err) {
		r.value, r.has, r.fetched = value, true, time.Now()
	}
	if err == nil {
		r.failures, r.next = 0, time.Now().Add(pause)
		return
	}
	r.failures++
	r.next = time.Now().Add(min(backoff(r.failures, err), maxShared)) // all wait for it
}
