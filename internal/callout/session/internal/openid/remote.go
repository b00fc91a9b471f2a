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

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/web"
)

// Times of requests.
const (
	// pause is the minimum time between two requests for the document or the keys. Invented tokens
	// must not cause more requests.
	pause = 10 * time.Second
	// firstRetry is the wait after the first failure. It doubles with each further one, up to
	// lastRetry, so that sources work again within seconds after the provider has recovered.
	firstRetry = time.Second
	lastRetry  = 10 * time.Second
	// maxRetryAfter bounds the header Retry-After of the provider.
	maxRetryAfter = 5 * time.Minute
)

// Unavailable is the error of a provider that does not answer, or whose answer is not
// valid. The same request may succeed later.
type Unavailable struct {
	reason     error
	Status     int           // of the answer; 0: there is none, or its status is that of success
	RetryAfter time.Duration // from the header of the answer; 0: there is none
}

func (e *Unavailable) Error() string { return e.reason.Error() }

// Unwrap implements the interface of errors.Is.
func (e *Unavailable) Unwrap() error { return e.reason }

func unavailable(text string) error { return &Unavailable{reason: errors.New(text)} }

// failed returns the error for an answer with a status other than success.
func failed(answer *web.Answer) error {
	return &Unavailable{reason: errors.New("status " + strconv.Itoa(answer.Status)), Status: answer.Status, RetryAfter: retryAfter(answer.Header, time.Now())}
}

// retryAfter returns the wait in the header Retry-After (RFC 9110, section 10.2.3).
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

// backoff returns how long to wait after a number of failures in a row, the last of which
// is err. It has a random part, so that several processes do not retry at once.
func backoff(failures int, err error) time.Duration {
	wait := min(firstRetry<<min(max(failures-1, 0), 10), lastRetry)
	wait -= rand.N(wait / 4)
	var u *Unavailable
	if errors.As(err, &u) && u.RetryAfter > 0 {
		return max(wait, u.RetryAfter+rand.N(u.RetryAfter/8+1))
	}
	return wait
}

// remote holds a document of the provider, which is fetched again from time to time. At
// most one request runs at once. No lock is held during the request, so callers can stop
// waiting.
type remote[T any] struct {
	fetch    func(context.Context) (T, error)
	isResult func(error) bool // reports whether an error means that the empty value is the current one; nil: no error does
	timeout  time.Duration
	flight   singleflight.Group

	mu       sync.Mutex
	value    T
	has      bool      // there is a value
	fetched  time.Time // when the value arrived
	next     time.Time // earliest time of the next request
	failures int       // in a row
	failure  error     // of the last request; nil: it succeeded
}

// snapshot is the state of a remote at one time.
type snapshot[T any] struct {
	value   T
	has     bool
	age     time.Duration
	failure error
	next    time.Time
}

func (r *remote[T]) snapshot() snapshot[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return snapshot[T]{r.value, r.has, time.Since(r.fetched), r.failure, r.next}
}

// refresh sends a request, or joins the one that is under way. If it is too early for a
// request, it returns the error of the last one. The request continues when ctx ends.
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
		value, err := r.fetchRecovered(ctx)
		r.store(value, err)
		return nil, err
	})
	select {
	case result := <-ch:
		return result.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetchRecovered calls fetch, and returns a panic as an error. The handler may run
// inside the server, which a fault in reading an answer must not end.
func (r *remote[T]) fetchRecovered(ctx context.Context) (value T, err error) {
	defer func() {
		if recover() != nil {
			err = session.Fault(session.ErrFault)
		}
	}()
	return r.fetch(ctx)
}

// store stores the result of a request.
func (r *remote[T]) store(value T, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
	if err == nil || r.isResult != nil && r.isResult(err) {
		r.value, r.has, r.fetched = value, true, time.Now()
	}
	if err == nil {
		r.failures, r.next = 0, time.Now().Add(pause)
		return
	}
	r.failures++
	r.next = time.Now().Add(min(backoff(r.failures, err), maxSharedWait)) // all callers wait until then
}
