package callout

import (
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/grant"
	"stamp/internal/callout/session"
)

// The same session, or the same user, has the same user key with one issuer. Any other has another key.
func TestUserKeys(t *testing.T) {
	key := func(c *Config, source, id, account, name string) string {
		t.Helper()
		v := &Verdict{&session.Session{Source: source, Key: id}, &grant.Result{Account: account, User: &jwt.UserClaims{}}}
		v.Grant.User.Name = name
		tags, err := c.tags(v)
		if err != nil {
			t.Fatal(err)
		}
		// Services that set tags by Add write them in lower case.
		public, ok := forwarded.UserKeyOf([]string{"x", strings.ToLower(tags[len(tags)-1])})
		if !ok || len(tags) != 2 {
			t.Fatalf("%d tags, a key among them: %t", len(tags), ok)
		}
		return public
	}
	for _, tt := range []struct {
		userKey      string
		same, others [][4]string // source, session, account, user; the first is compared with the others
	}{
		{keyOfSession, [][4]string{{"kv", "a", "APP", "alice"}, {"kv", "a", "OTHER", "bob"}}, [][4]string{{"kv", "b", "APP", "alice"}, {"redis", "a", "APP", "alice"}}},
		{keyOfUser, [][4]string{{"kv", "a", "APP", "alice"}, {"redis", "b", "APP", "alice"}}, [][4]string{{"kv", "a", "OTHER", "alice"}, {"kv", "a", "APP", "bob"}, {"kv", "a", "APP", ""}, {"kv", "a", "APP\x00alice", ""}}},
	} {
		issuer := newKey(t, nkeys.CreateAccount)
		c := &Config{fields: fields{UserKey: tt.userKey}, keys: &keys{issuer: issuer}}
		first := tt.same[0]
		want := key(c, first[0], first[1], first[2], first[3])
		for _, s := range tt.same {
			if key(c, s[0], s[1], s[2], s[3]) != want {
				t.Errorf("user key %s: %q has another key", tt.userKey, s)
			}
		}
		for _, s := range tt.others {
			if key(c, s[0], s[1], s[2], s[3]) == want {
				t.Errorf("user key %s: %q has the same key", tt.userKey, s)
			}
		}
		c.keys = &keys{issuer: newKey(t, nkeys.CreateAccount)}
		if key(c, first[0], first[1], first[2], first[3]) == want {
			t.Errorf("%s: the key does not depend on the issuer", tt.userKey)
		}
	}
}

func TestNoUserKey(t *testing.T) {
	c := &Config{keys: &keys{issuer: newKey(t, nkeys.CreateAccount)}}
	tags, err := c.tags(&Verdict{&session.Session{Source: "kv", Key: "a"}, &grant.Result{User: &jwt.UserClaims{}}})
	if err != nil || len(tags) != 1 {
		t.Errorf("expected the session's tag alone; found %q, error %v", tags, err)
	}
	if _, ok := forwarded.UserKeyOf([]string{"", "stamp-user-key:", "stamp-user-key:UX"}); ok {
		t.Error("something that is no user key was accepted as one")
	}
}
