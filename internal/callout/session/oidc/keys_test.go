package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stamp/internal/callout/session"
)

// A source that starts before its provider asks again until it has the keys.
func TestAsksUntilTheProviderIsThere(t *testing.T) {
	key := newKey(t, "k1")
	r := &remote{set: public(t, key), down: true}
	virtually(t, r, func(t *testing.T, s session.Source) {
		expect(t, s, by(t, key, issuer), "cannot tell")
		time.Sleep(time.Minute - time.Second)
		if n := r.count(); n < 6 || n > 12 {
			t.Errorf("the provider was asked %d times in a minute", n)
		}
		r.change(func(r *remote) { r.down = false })
		time.Sleep(minRefresh)
		before := r.count()
		expect(t, s, by(t, key, issuer), "known")
		if n := r.count(); n != before {
			t.Error("the login had to wait for the provider")
		}
	})
}

// A new key is found at once. Made-up key ids do not make the source fetch the keys again and again.
func TestRotationAndRateLimit(t *testing.T) {
	one, two := newKey(t, "k1"), newKey(t, "k2")
	r := &remote{set: public(t, one)}
	virtually(t, r, func(t *testing.T, s session.Source) {
		expect(t, s, by(t, one, issuer), "known")
		time.Sleep(minRefresh)
		r.change(func(r *remote) { r.set, r.delay = public(t, two), time.Second })
		before := r.count()
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() { expect(t, s, by(t, two, issuer), "known") })
		}
		wg.Wait()
		if n := r.count() - before; n != 1 {
			t.Errorf("%d fetches for logins that came at once", n)
		}
		expect(t, s, by(t, one, issuer), "unknown")
		before = r.count()
		time.Sleep(time.Millisecond)
		for i := range 600 { // a minute
			// Only the provider's answer makes it certain that there is no such key.
			fetched := r.count()
			got, err := find(t, s, by(t, newKey(t, fmt.Sprint("made-up", i)), issuer))
			if got != nil || errors.Is(err, session.ErrUnknown) != (r.count() > fetched) {
				t.Errorf("after %d fetches, unknown must follow a fetch only; found error %v", r.count()-fetched, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := r.count() - before; n < 1 || n > 7 {
			t.Errorf("%d fetches in a minute of made-up keys", n)
		}
	})
}

// While the provider is away, known keys are used, and nobody waits.
func TestProviderAway(t *testing.T) {
	key := newKey(t, "k1")
	r := &remote{set: public(t, key)}
	virtually(t, r, func(t *testing.T, s session.Source) {
		began := time.Now()
		r.change(func(r *remote) { r.delay = time.Hour }) // it takes the connection, and says nothing
		for range 22 {
			time.Sleep(time.Hour + 7*time.Second)
			before := time.Now()
			expect(t, s, by(t, key, issuer), "known")
			if d := time.Since(before); d != 0 {
				t.Errorf("a login took %s, want no wait for the provider", d)
			}
		}
		expect(t, s, by(t, newKey(t, "k2"), issuer), "cannot tell")
		time.Sleep((24 * time.Hour) - time.Since(began))
		expect(t, s, by(t, key, issuer), "cannot tell")
		r.change(func(r *remote) { r.delay = 0 })
		time.Sleep(2 * minRefresh)
		expect(t, s, by(t, key, issuer), "known")
	})
}

// A key that the provider has withdrawn is not trusted for longer than refresh, even if no token names another key. It is
// refused as soon as it is known that the key is gone.
func TestWithdrawnKeys(t *testing.T) {
	key := newKey(t, "k1")
	for name, set := range map[string][]json.RawMessage{"other": public(t, newKey(t, "k2")), "none": public(t)} {
		t.Run(name, func(t *testing.T) {
			r := &remote{set: public(t, key)}
			want := map[string]string{"other": "unknown", "none": "cannot tell"}[name]
			virtually(t, r, func(t *testing.T, s session.Source) {
				expect(t, s, by(t, key, issuer), "known")
				r.change(func(r *remote) { r.set = set })
				time.Sleep(time.Hour)
				expect(t, s, by(t, key, issuer), want)
			})
		})
	}
}

// With several providers, one that is down does not affect tokens of the others.
func TestOtherProvidersTokens(t *testing.T) {
	key := newKey(t, "k1")
	r := &remote{set: public(t, key), down: true}
	virtually(t, r, func(t *testing.T, s session.Source) {
		time.Sleep(minRefresh / 2)
		before := r.count()
		expect(t, s, by(t, newKey(t, "x"), "https://other.test"), "unknown")
		r.change(func(r *remote) { r.down = false })
		time.Sleep(minRefresh)
		expect(t, s, by(t, newKey(t, "x"), "https://other.test"), "unknown")
		if n := r.count() - before; n != 2 { // in the background: document and keys
			t.Errorf("the provider was asked %d times, want 2", n)
		}
	})
}

// Keys are fetched from the address in the provider's current document.
func TestKeysThatMoved(t *testing.T) {
	one, two := newKey(t, "k1"), newKey(t, "k2")
	r := &remote{set: public(t, one)}
	virtually(t, r, func(t *testing.T, s session.Source) {
		expect(t, s, by(t, one, issuer), "known")
		r.change(func(r *remote) { r.keys, r.set = "/new/keys", public(t, two) })
		time.Sleep(time.Hour + minRefresh)
		expect(t, s, by(t, two, issuer), "known")
		expect(t, s, by(t, one, issuer), "unknown")
	})
}

// Keys that could be tampered with in transit are not fetched.
func TestKeysAreBehindTLS(t *testing.T) {
	key := newKey(t, "k1")
	for host, want := range map[string]string{"http://login.test": "cannot tell", "https://keys.test": "known", ":": "cannot tell"} {
		virtually(t, &remote{set: public(t, key), host: host}, func(t *testing.T, s session.Source) {
			expect(t, s, by(t, key, issuer), want)
		})
	}
}

// A closed source does not ask the provider any more.
func TestCloseEndsTheAsking(t *testing.T) {
	r := &remote{down: true}
	virtually(t, r, func(t *testing.T, s session.Source) {
		_ = s.Close()
		before := r.count()
		time.Sleep(time.Hour)
		if n := r.count() - before; n != 0 {
			t.Errorf("the provider was asked %d times after Close, want none", n)
		}
	})
}

// While the provider hangs, strangers with made-up keys keep out nobody whose key is known.
func TestStrangersWhileTheProviderHangs(t *testing.T) {
	key := newKey(t, "k1")
	r := &remote{set: public(t, key)}
	virtually(t, r, func(t *testing.T, s session.Source) {
		expect(t, s, by(t, key, issuer), "known")
		l := session.NewLookup(s, session.Defaults())
		time.Sleep(minRefresh)
		r.change(func(r *remote) { r.delay = time.Hour })
		look := func(text string) error {
			_, err := l.Find(t.Context(), &session.Request{Credential: session.Credential{Kind: session.Token, Value: text}})
			return err
		}
		var strangers sync.WaitGroup
		for i := range 200 {
			strangers.Go(func() { _ = look(by(t, newKey(t, fmt.Sprint("made-up", i)), issuer)) })
		}
		synctest.Wait()
		began := time.Now()
		if err := look(by(t, key, issuer)); err != nil || time.Since(began) != 0 {
			t.Errorf("a token with a known key: error %v after %s, want none and no wait", err, time.Since(began))
		}
		strangers.Wait()
		time.Sleep(minRefresh) // the request has been given up then
	})
}
