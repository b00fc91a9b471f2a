package openid

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/web"
)

func TestRetryAfter(t *testing.T) {
	now := time.Now()
	for text, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "0": 0, "-1": 0, "x": 0, "1e9": 0, "99999999": maxRetryAfter, "99999999999999999999": 0,
		now.Add(time.Hour).UTC().Format(http.TimeFormat):        maxRetryAfter,
		now.Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
		now.Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got > want || got < want-time.Second {
			t.Errorf("Retry-After: %q gives %s, want %s", text, got, want)
		}
	}
}

// However long a provider is away, it is asked again within seconds of its return, and not before the time that it has asked
// for.
func TestBackoff(t *testing.T) {
	for failures := range 100 {
		if wait := backoff(failures, errors.New("x")); wait < firstRetry/2 || wait > lastRetry {
			t.Errorf("the wait after %d failures is %s, which is out of bounds", failures, wait)
		}
	}
	wish := &Unavailable{reason: errors.New("x"), RetryAfter: time.Minute}
	if wait := backoff(1, fmt.Errorf("y: %w", wish)); wait < time.Minute || wait > 70*time.Second {
		t.Errorf("the wait with Retry-After: 60 is %s, want 60 to 70 seconds", wait)
	}
}

// The number of requests does not grow with the number of callers, whether the provider answers or not.
func TestRemoteAsksAtAFixedRate(t *testing.T) {
	for _, fails := range []bool{false, true} {
		for _, callers := range []int{100, 200, 400} {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				r := &remote[int]{timeout: time.Second, fetch: func(context.Context) (int, error) {
					asked++
					if fails {
						return 0, errors.New("x")
					}
					return 1, nil
				}}
				for range callers {
					_ = r.refresh(t.Context())
					time.Sleep(30 * time.Second / time.Duration(callers))
				}
				if most := 3 + 5; asked > most {
					t.Errorf("failing: %t: the provider got %d requests in half a minute, for %d callers", fails, asked, callers)
				}
			})
		}
	}
}

// A request that hangs is given up, and a caller who waits for it can leave at any time.
func TestRemoteThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		hangs.Store(true)
		r := &remote[int]{timeout: 8 * time.Second, fetch: func(ctx context.Context) (int, error) {
			if hangs.Load() {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return 7, nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := r.refresh(ctx); err == nil || time.Since(began) != time.Second {
			t.Errorf("expected an error at the caller's own deadline of 1s; found %v after %s", err, time.Since(began))
		}
		hangs.Store(false)
		time.Sleep(8*time.Second + lastRetry)
		if err := r.refresh(t.Context()); err != nil || r.snapshot().value != 7 {
			t.Errorf("the refresh after the provider's recovery: error %v, or an old value", err)
		}
	})
}

func TestGate(t *testing.T) {
	unreached := web.Clean(&net.OpError{Op: "dial", Err: errors.New("connection refused")})
	away := &Unavailable{reason: fmt.Errorf("ask: %w", unreached)}
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		var first []*Request
		for range 16 {
			r, _ := g.Enter()
			if r == nil {
				t.Fatal("the gate is closed, though nothing failed")
			}
			first = append(first, r)
		}
		lines := 0
		for _, r := range first {
			if closed, _ := r.Finish("a", away); closed {
				lines++
			}
		}
		if lines != 1 {
			t.Errorf("%d failures of those under way report that they closed the gate, want 1", lines)
		}
		asked := 0
		for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
			if r, wait := g.Enter(); r != nil {
				asked++
				r.Finish("a", away)
			} else if wait <= 0 || wait > 2*lastRetry {
				t.Fatalf("the closed gate asks to wait %s", wait)
			}
		}
		if asked < 5 || asked > 12 {
			t.Errorf("the closed gate let %d requests through in a minute, want 5 to 12", asked)
		}
		time.Sleep(lastRetry)
		r, _ := g.Enter()
		if r == nil {
			t.Fatal("the gate lets nobody try, though its wait is over")
		}
		late := first[0]
		late.GiveUp() // those that have left, and those that come late, do not end what another one tries
		if other, _ := g.Enter(); other != nil {
			t.Error("the closed gate lets two try at once")
		}
		if _, opened := r.Finish("a", &Refusal{Code: "invalid_grant"}); !opened {
			t.Error("an answer about one grant does not open the gate")
		}
		if r, _ := g.Enter(); r == nil || g.Wait() != 0 {
			t.Error("the gate is closed after an answer")
		}
	})
}

// Bad answers to one grant, however many, keep no other grant waiting. Bad answers to several grants in a row close the gate
// for all, for a bounded time, in case they concern these grants alone.
func TestGateCountsGrants(t *testing.T) {
	for name, err := range map[string]error{
		"status 500":          failed(&web.Answer{Status: 500}),
		"429 and Retry-After": failed(&web.Answer{Status: 429, Header: http.Header{"Retry-After": {"300"}}}),
		"403 of a firewall":   &Refusal{Status: 403},
		"unauthorized_client": &Refusal{Code: "unauthorized_client"},
		"time-out":            &Unavailable{reason: context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			leave := func(grant string, err error) (closed, opened bool) {
				r, _ := g.Enter()
				if r == nil {
					t.Fatalf("%s: the gate is closed", name)
				}
				return r.Finish(grant, err)
			}
			for range 100 {
				if closed, _ := leave("a", err); closed {
					t.Fatalf("%s: failures of one grant closed the gate", name)
				}
				if closed, _ := leave("", err); closed {
					t.Fatalf("%s: a made-up grant closed the gate", name)
				}
			}
			leave("a", err)
			leave("b", err)
			leave("d", nil)
			for i, grant := range []string{"a", "b", "a", "c"} {
				if closed, _ := leave(grant, err); closed != (i == 3) {
					t.Errorf("%s: grant %s, failure %d: the gate closed: %t, want %t", name, grant, i, closed, i == 3)
				}
			}
			if wait := g.Wait(); wait <= 0 || wait > maxSharedWait+firstRetry {
				t.Errorf("%s: everybody has to wait %s, which is out of bounds", name, wait)
			}
			time.Sleep(maxSharedWait)
			if _, opened := leave("d", nil); !opened {
				t.Errorf("%s: the gate is closed after a success", name)
			}
		})
	}
}

func TestRemoteSurvivesAPanic(t *testing.T) {
	r := &remote[int]{timeout: time.Second, fetch: func(context.Context) (int, error) { panic("answer-4711") }}
	if err := r.refresh(t.Context()); !errors.Is(err, session.ErrFault) || strings.Contains(err.Error(), "4711") {
		t.Errorf("expected ErrFault without what the panic said; found %v", err)
	}
}

// If a provider that is away for a moment asks for a pause of minutes, callers wait no longer than after any other failure.
func TestRemoteBoundsRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := true
		r := &remote[int]{timeout: time.Second, fetch: func(context.Context) (int, error) {
			if away {
				return 0, failed(&web.Answer{Status: 503, Header: http.Header{"Retry-After": {"300"}}})
			}
			return 7, nil
		}}
		if r.refresh(t.Context()) == nil {
			t.Fatal("the refresh succeeded, though the provider answered 503")
		}
		away = false
		time.Sleep(maxSharedWait)
		if err := r.refresh(t.Context()); err != nil || r.snapshot().value != 7 {
			t.Errorf("the refresh after the provider's recovery: error %v, or an old value", err)
		}
	})
}
