package policy

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"stamp/server/claim"
)

// The account JWT is read once for all its connections.
func TestScopesAreReadOnce(t *testing.T) {
	s := scopeCache{most: 1 << 20}
	token := account(`{"A":"x"}`)
	first, err := s.of("APP", token).template(token, "AK", claim.Limits{})
	if err != nil || first == nil {
		t.Fatal(err)
	}
	if again, _ := s.of("APP", strings.Clone(token)).template(token, "AK", claim.Limits{}); again != first {
		t.Error("read again")
	}
	if n := testing.AllocsPerRun(100, func() { s.of("APP", token).template(token, "AK", claim.Limits{}) }); n > 2 {
		t.Errorf("%v allocations for a template that is known", n)
	}
	other := account(`{"A":"y"}`)
	if next, _ := s.of("APP", other).template(other, "AK", claim.Limits{}); next.Headers[0].Values[0] != "y" {
		t.Error("what an update has replaced is used")
	}
	if len(s.accounts) != 1 {
		t.Errorf("%d accounts are kept", len(s.accounts))
	}
}

// What is kept is bounded in bytes, whatever the accounts, their keys and templates are, and the count of the bytes is
// right whatever goes.
func TestScopesAreBounded(t *testing.T) {
	s := scopeCache{most: 64 << 10}
	for i := range 2000 {
		value := strings.Repeat("x", i%50*100)
		token := account(fmt.Sprintf(`{"A":"%d%s"}`, i, value))
		a := s.of(fmt.Sprint("account", i%100), token)
		for _, key := range []string{"AK", fmt.Sprint("A", i)} {
			if _, err := a.template(token, key, claim.Limits{}); err != nil {
				t.Fatal(err)
			}
		}
		held := 0
		for name, a := range s.accounts {
			held += len(name) + perAccount
			for key, cl := range a.templates {
				held += len(key.signingKey) + perTemplate + templateSize(cl)
			}
		}
		if held != s.bytes || held > s.most {
			t.Fatalf("%d bytes are held, %d are counted, of %d", held, s.bytes, s.most)
		}
	}
	// One that is large is not kept, and pushes no other one out.
	before := s.bytes
	token := account(`{"A":{"value":"x","subjects":["` + strings.Repeat("s", 100<<10) + `"]}}`)
	if cl, err := s.of("APP", token).template(token, "AK", claim.Limits{}); err != nil || cl == nil || s.bytes != before || before == 0 {
		t.Errorf("%d bytes are held, before %d, error %v", s.bytes, before, err)
	}
}

// Account JWTs that come and go leave nothing of themselves.
func TestScopesDoNotHoldJWTs(t *testing.T) {
	held := func(updates int) uint64 {
		for i := range updates {
			c := Conn{
				UserJWT: token(`{"nats":{}}`), Scoped: true, SigningKey: "AK", Account: "APP",
				AccountJWT: token(fmt.Sprintf(`{"x%d":%q,"nats":{"signing_keys":[{"key":"AK","template":{"headers":{"A":"x"}}}]}}`, i, strings.Repeat("x", 100<<10))),
			}
			if _, err := granted(nil, c); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := held(1)
	if after := held(100); after > before+1<<20 {
		t.Errorf("%d bytes more after 100 updates", after-before)
	}
}

// Keys of an account JWT that seem meant for a claim are told with the grant of each of its connections.
func TestLookalikesOfAccount(t *testing.T) {
	typo := token(`{"nats":{"signing_keys":[{"key":"AK","template":{"header":{"A":"x"}}}]}}`)
	for _, scoped := range []bool{true, false} {
		g, err := (*Rules)(nil).For(Conn{UserJWT: token(`{}`), Scoped: scoped, SigningKey: "AK", AccountJWT: typo})
		if err != nil || !slices.Equal(g.AccountLookalikes, []string{`"header"`}) {
			t.Errorf("scoped %t: %+v, error %v", scoped, g, err)
		}
	}
}
