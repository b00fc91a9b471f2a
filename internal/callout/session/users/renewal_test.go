package users

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"stamp/internal/callout/session"
)

// TestRenewalsCostNothing: a CPU compares some tens of passwords in a second, and thousands of connections are renewed in
// minutes. A right password is compared once; a wrong one each time.
func TestRenewalsCostNothing(t *testing.T) {
	cfg, err := parse(t, fmt.Sprintf(`kind: users, users: [{user: alice, password: %q}, {user: bob, password: %q}]`, hash(t, "pw", 4), hash(t, "pw", 4)))
	if err != nil {
		t.Fatal(err)
	}
	s, compared := newSource(cfg), 0
	s.compare = func(hash, password []byte) error {
		compared++
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	ask := func(user, password string, renewal, ok bool, want int) {
		t.Helper()
		r := login(user, password)
		r.Renewal = renewal
		compared = 0
		found, err := s.Find(t.Context(), r)
		if ok != (err == nil) || err != nil && !errors.Is(err, session.ErrUnknown) || ok && found.Key != user {
			t.Errorf("user %s, renewal %t: found %v, error %v", user, renewal, found, err)
		}
		if compared != want {
			t.Errorf("user %s, renewal %t: %d passwords were compared; want %d", user, renewal, compared, want)
		}
	}
	ask("alice", "pw", true, true, 1)
	for range 100 {
		ask("alice", "pw", true, true, 0)
	}
	ask("alice", "pw", false, true, 1)    // a connection that is made
	ask("bob", "pw", true, true, 1)       // the same password of another user
	ask("alice", "wrong", true, false, 1) // a wrong password is not kept
	ask("alice", "wrong", true, false, 1)
	ask("alice", "pw", true, true, 0)
	ask("eve", "pw", true, false, 1)
	if len(s.verified) != 2 {
		t.Errorf("%d passwords are kept; want one for each user", len(s.verified))
	}
	// A source with other users does not know of that comparison.
	other, err := parse(t, fmt.Sprintf(`kind: users, users: [{user: alice, password: %q}]`, hash(t, "new", 4)))
	if err != nil {
		t.Fatal(err)
	}
	r := login("alice", "pw")
	r.Renewal = true
	if _, err := newSource(other).Find(t.Context(), r); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected ErrUnknown after the password was changed; found %v", err)
	}
}
