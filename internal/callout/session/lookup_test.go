package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a source whose answers the test chooses.
type fake struct {
	asked atomic.Int64
	atAll atomic.Int64 // the most at once
	now   atomic.Int64
	find  func(ctx context.Context, r *Request) (*Session, error)
	noKey bool
	only  Kind // of credentials that it takes; empty: all with a value
}

func (f *fake) Accepts(r *Request) (string, bool) {
	switch {
	case f.noKey:
		return "", true
	case f.only != "":
		return "key", r.Credential.Kind == f.only
	}
	return r.Credential.Value, r.Credential.Value != ""
}

func (f *fake) Find(ctx context.Context, r *Request) (*Session, error) {
	f.asked.Add(1)
	n := f.now.Add(1)
	defer f.now.Add(-1)
	for old := f.atAll.Load(); n > old && !f.atAll.CompareAndSwap(old, n); old = f.atAll.Load() {
	}
	return f.find(ctx, r)
}

func (f *fake) Close() error { return nil }

func findAlice(context.Context, *Request) (*Session, error) {
	return &Session{Key: "k", Data: map[string]any{"user": "alice"}}, nil
}

func request(credential string) *Request {
	return &Request{Credential: Credential{Kind: Token, Value: credential}}
}

func settings(change func(*Settings)) Settings {
	s := Defaults()
	s.Name = "fake"
	if change != nil {
		change(&s)
	}
	return s
}

func TestLookupCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: findAlice}
		l := NewLookup(f, settings(nil))
		for range 3 {
			s, err := l.Find(t.Context(), request("a"))
			if err != nil || s.Source != "fake" {
				t.Fatalf("expected a session of the source fake; found %v, error %v", s, err)
			}
		}
		if n := f.asked.Load(); n != 1 {
			t.Errorf("the source was asked %d times, want 1", n)
		}
		time.Sleep(Defaults().Cache)
		_, _ = l.Find(t.Context(), request("a"))
		if n := f.asked.Load(); n != 2 {
			t.Errorf("the source was asked %d times after the cache's time, want 2", n)
		}
	})
}

// A renewal asks the source, and what it answers is cached for others.
func TestLookupRenewalAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: findAlice}
		l := NewLookup(f, settings(nil))
		_, _ = l.Find(t.Context(), request("a"))
		f.find = func(context.Context, *Request) (*Session, error) {
			return &Session{Key: "k", Data: map[string]any{"user": "bob"}}, nil
		}
		renewal := request("a")
		renewal.Renewal = true
		if known, unknown := l.Cached(renewal); known || unknown {
			t.Error("a renewal is answered by the cache")
		}
		for _, r := range []*Request{renewal, request("a")} {
			if s, err := l.Find(t.Context(), r); err != nil || s.Data["user"] != "bob" {
				t.Errorf("renewal %t: expected what the source answered to the renewal; found %v, error %v", r.Renewal, s, err)
			}
		}
		if n := f.asked.Load(); n != 2 {
			t.Errorf("the source was asked %d times, want 2", n)
		}
	})
}

func TestLookupCachesUnknownShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: func(context.Context, *Request) (*Session, error) { return nil, fmt.Errorf("x: %w", ErrUnknown) }}
		l := NewLookup(f, settings(nil))
		for range 3 {
			if _, err := l.Find(t.Context(), request("a")); !errors.Is(err, ErrUnknown) {
				t.Fatal(err)
			}
		}
		if n := f.asked.Load(); n != 1 {
			t.Errorf("the source was asked %d times, want 1", n)
		}
		time.Sleep(Defaults().NegativeCache)
		_, _ = l.Find(t.Context(), request("a"))
		if n := f.asked.Load(); n != 2 {
			t.Errorf("the source was asked %d times, want 2", n)
		}
	})
}

func TestLookupDoesNotCacheDoubt(t *testing.T) {
	f := &fake{find: func(context.Context, *Request) (*Session, error) { return nil, errors.New("store is down") }}
	l := NewLookup(f, settings(nil))
	for range 2 {
		_, err := l.Find(t.Context(), request("secret-credential"))
		if err == nil || errors.Is(err, ErrUnknown) || !strings.HasPrefix(err.Error(), "session source fake: ") {
			t.Fatalf("expected an error of source fake that leaves open whether the session is known; found %v", err)
		}
		if strings.Contains(err.Error(), "secret-credential") {
			t.Error("the error holds the credential")
		}
	}
	if n := f.asked.Load(); n != 2 {
		t.Errorf("the source was asked %d times, want 2", n)
	}
}

// Look-ups of one credential at the same time ask the source once.
func TestLookupOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
			time.Sleep(time.Second)
			return findAlice(ctx, r)
		}}
		l := NewLookup(f, settings(nil))
		var wg sync.WaitGroup
		for i := range 10_000 {
			wg.Go(func() {
				if _, err := l.Find(t.Context(), request(fmt.Sprint("c", i%50))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := f.asked.Load(); n != 50 {
			t.Errorf("the source was asked %d times for 50 credentials, want 50", n)
		}
	})
}

// A caller who began a look-up may leave. The others get its answer.
func TestLookupOutlivesWhoBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
			time.Sleep(time.Second)
			return findAlice(ctx, r)
		}}
		l := NewLookup(f, settings(nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		go func() { _, _ = l.Find(ctx, request("a")) }()
		synctest.Wait()
		if _, err := l.Find(t.Context(), request("a")); err != nil || f.asked.Load() != 1 {
			t.Errorf("expected the answer of the one look-up; found error %v, and the source was asked %d times", err, f.asked.Load())
		}
	})
}

// The numbers of look-ups that run and wait are bounded.
func TestLookupBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
			time.Sleep(10 * time.Millisecond)
			return findAlice(ctx, r)
		}}
		l := NewLookup(f, settings(func(s *Settings) { s.Concurrency, s.Queue = 4, 100 }))
		var busy, got atomic.Int64
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				_, err := l.Find(t.Context(), request(fmt.Sprint(i)))
				switch {
				case err == nil:
					got.Add(1)
				case errors.Is(err, ErrBusy):
					busy.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if f.atAll.Load() > 3 { // the fourth is for renewals
			t.Errorf("%d look-ups ran at once, want 3", f.atAll.Load())
		}
		if got.Load() != 103 || busy.Load() != 897 {
			t.Errorf("%d answers and %d overloaded; want 103 and 897", got.Load(), busy.Load())
		}
	})
}

func TestLookupTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: func(ctx context.Context, _ *Request) (*Session, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		l := NewLookup(f, settings(nil))
		began := time.Now()
		_, err := l.Find(t.Context(), request("a"))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != Defaults().Timeout {
			t.Errorf("expected the time-out of the source; found %v after %s", err, time.Since(began))
		}
	})
}

// Look-ups of a credential without a cache key are neither joined nor cached.
func TestLookupNeverSharesWhatHasNoKey(t *testing.T) {
	f := &fake{find: findAlice, noKey: true}
	l := NewLookup(f, settings(nil))
	for range 3 {
		_, _ = l.Find(t.Context(), request("a"))
	}
	if n := f.asked.Load(); n != 3 {
		t.Errorf("the source was asked %d times, want 3", n)
	}
	if known, unknown := l.Cached(request("a")); known || unknown {
		t.Error("a session without a key is cached")
	}
}

// If a session ends, the cache forgets it, whatever credentials it was found by.
func TestLookupForgets(t *testing.T) {
	f := &fake{find: findAlice}
	l := NewLookup(f, settings(nil))
	_, _ = l.Find(t.Context(), request("a"))
	_, _ = l.Find(t.Context(), request("b")) // of the same session
	l.Forget("other")
	if known, _ := l.Cached(request("a")); !known {
		t.Error("the end of another session made the cache forget this one")
	}
	l.Forget("k")
	for _, c := range []string{"a", "b"} {
		if known, _ := l.Cached(request(c)); known {
			t.Errorf("the cache still knows credential %s of the session that ended", c)
		}
	}
}

// An answer that was under way when its session ended must not be kept.
func TestLookupForgetsWhatIsUnderWay(t *testing.T) {
	var l *Lookup
	f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
		l.Forget("k")
		return findAlice(ctx, r)
	}}
	l = NewLookup(f, settings(nil))
	_, _ = l.Find(t.Context(), request("a"))
	if known, _ := l.Cached(request("a")); known {
		t.Error("the old session is kept")
	}
}

// A session whose end has passed is unknown, cached or not.
func TestLookupNeverGivesWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: func(context.Context, *Request) (*Session, error) {
			return &Session{Key: "k", Expires: time.Now().Add(time.Second)}, nil
		}}
		l := NewLookup(f, settings(func(s *Settings) { s.Cache = time.Hour }))
		_, _ = l.Find(t.Context(), request("a"))
		time.Sleep(time.Second)
		if known, _ := l.Cached(request("a")); known {
			t.Error("an ended session is cached")
		}
		f.find = func(context.Context, *Request) (*Session, error) {
			return &Session{Key: "k", Expires: time.Now()}, nil
		}
		if _, err := l.Find(t.Context(), request("b")); !errors.Is(err, ErrUnknown) {
			t.Errorf("expected ErrUnknown for a session that has ended; found %v", err)
		}
	})
}

// A source may run inside the server, so its panic must not end the process.
func TestLookupSurvivesAPanic(t *testing.T) {
	f := &fake{find: func(context.Context, *Request) (*Session, error) { panic("credential-4711") }}
	l := NewLookup(f, settings(nil))
	for range 2 {
		if _, err := l.Find(t.Context(), request("a")); !errors.Is(err, ErrFault) || strings.Contains(err.Error(), "4711") {
			t.Errorf("expected ErrFault without what the panic said; found %v", err)
		}
	}
}

// MQTT has one field for passwords and tokens. A source that takes tokens gets it as a token, and a source that takes passwords
// as a password.
func TestLookupMayBeToken(t *testing.T) {
	r := &Request{Credential: Credential{Kind: Password, Username: "u", Password: "p", MayBeToken: true}}
	for _, kind := range []Kind{Password, Token} {
		f := &fake{find: findAlice, only: kind}
		l := NewLookup(f, settings(nil))
		asked := l.Request(r)
		if c := asked.Credential; c.Kind != kind || kind == Token && c != (Credential{Kind: Token, Value: "p"}) {
			t.Errorf("a source that takes a %s gets a credential of kind %s", kind, c.Kind)
		}
		if _, err := l.Find(t.Context(), r); err != nil {
			t.Errorf("a source that takes a %s was not asked, or refused: %v", kind, err)
		}
	}
	// Over NATS a password is a password.
	r = &Request{Credential: Credential{Kind: Password, Username: "u", Password: "p"}}
	l := NewLookup(&fake{find: findAlice, only: Token}, settings(nil))
	if _, err := l.Find(t.Context(), r); !errors.Is(err, ErrUnknown) {
		t.Errorf("a source of tokens accepts a password: error %v", err)
	}
}

func TestLookupCookie(t *testing.T) {
	f := &fake{find: func(_ context.Context, r *Request) (*Session, error) {
		if r.Credential.Kind != Cookie || r.Credential.Value != "c" {
			t.Errorf("the source gets a credential of kind %s, want the cookie", r.Credential.Kind)
		}
		return findAlice(t.Context(), r)
	}}
	l := NewLookup(f, settings(func(s *Settings) { s.Cookie = "sid" }))
	r := request("token")
	if _, err := l.Find(t.Context(), r); !errors.Is(err, ErrUnknown) {
		t.Errorf("expected ErrUnknown without the cookie; found %v", err)
	}
	r.Cookies = map[string]string{"sid": "c"}
	if _, err := l.Find(t.Context(), r); err != nil {
		t.Error(err)
	}
}

// TestFailing: a source is failing after a look-up that failed, until one succeeds or says that a credential is unknown.
func TestFailing(t *testing.T) {
	answer := errors.New("store is away")
	l := NewLookup(&fake{find: func(context.Context, *Request) (*Session, error) { return nil, answer }}, settings(func(s *Settings) { s.Cache, s.NegativeCache = 0, 0 }))
	for _, step := range []struct {
		answer error
		want   string
	}{{answer, "store is away"}, {ErrUnknown, ""}, {answer, "store is away"}} {
		answer = step.answer
		_, _ = l.Find(t.Context(), request("c"))
		if err := l.Failing(); (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("after the answer %v, Failing returned %v, want %q", step.answer, err, step.want)
		}
	}
}
