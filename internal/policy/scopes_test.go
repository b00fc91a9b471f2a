package policy

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"stamp.example/claim"
)

// The account JWT is read once for all connections of the account.
func TestScopesAreReadOnce(t *testing.T) {
	s := scopeCache{maxBytes: 1 << 20}
	token := account(`{"A":"x"}`)
	first, err := s.ofAccount("APP", token).template(token, "AK", claim.Limits{})
	if err != nil || first == nil {
		t.Fatal(err)
	}
	if again, _ := s.ofAccount("APP", strings.Clone(token)).template(token, "AK", claim.Limits{}); again != first {
		t.Error("the account JWT was read again for the second connection")
	}
	if n := testing.AllocsPerRun(100, func() { s.ofAccount("APP", token).template(token, "AK", claim.Limits{}) }); n > 2 {
		t.Errorf("a template that is known allocates %v times", n)
	}
	other := account(`{"A":"y"}`)
	if next, _ := s.ofAccount("APP", other).template(other, "AK", claim.Limits{}); next.Headers[0].Values[0] != "y" {
		t.Error("a template that an update has replaced is used")
	}
	if len(s.accounts) != 1 {
		t.Errorf("%d accounts are kept, want 1", len(s.accounts))
	}
}

// The cache has a bound in bytes, whatever accounts, keys and templates there are. The count of the bytes stays right
// when entries are dropped.
func TestScopesAreBounded(t *testing.T) {
	s := scopeCache{maxBytes: 64 << 10}
	for i := range 2000 {
		value := strings.Repeat("x", i%50*100)
		token := account(fmt.Sprintf(`{"A":"%d%s"}`, i, value))
		a := s.ofAccount(fmt.Sprint("account", i%100), token)
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
		if held != s.bytes || held > s.maxBytes {
			t.Fatalf("%d bytes are held, %d are counted, of %d", held, s.bytes, s.maxBytes)
		}
	}
	// A large entry is not kept, and does not push out others.
	before := s.bytes
	token := account(`{"A":{"value":"x","subjects":["` + strings.Repeat("s", 100<<10) + `"]}}`)
	if cl, err := s.ofAccount("APP", token).template(token, "AK", claim.Limits{}); err != nil || cl == nil || s.bytes != before || before == 0 {
		t.Errorf("%d bytes are held, before %d, error %v", s.bytes, before, err)
	}
}

// Old account JWTs leave nothing in the cache.
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
		t.Errorf("after 100 updates %d bytes more are held", after-before)
	}
}

// Keys of an account JWT that seem to be meant for a claim are in the grant of each connection of the account.
func TestLookalikesOfAccount(t *testing.T) {
	typo := token(`{"nats":{"signing_keys":[{"key":"AK","template":{"header":{"A":"x"}}}]}}`)
	for _, scoped := range []bool{true, false} {
		g, err := (*Rules)(nil).GrantFor(Conn{UserJWT: token(`{}`), Scoped: scoped, SigningKey: "AK", AccountJWT: typo})
		if err != nil || !slices.Equal(g.AccountLookalikes, []string{`"header"`}) {
			t.Errorf("scoped %t: expected the misspelled key in the grant; found %+v, error %v", scoped, g, err)
		}
	}
}
