package callout

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/server/callout/forwarded"
	"stamp/server/callout/session"
)

// A session that chooses a tag of its grant cannot name another session, and so escape its logout.
func TestTagsOfAGrantNameNoSession(t *testing.T) {
	cfg := parse(t, `
		sessions: [{kind: anonymous}]
		grants: [{account: APP, publish: [], subscribe: [], tags: ["stamp-session:kv/static", "{{ session.tag }}"]}]`)
	s := &session.Session{Source: "kv", Key: "mine", Data: map[string]any{"tag": "stamp-session:kv/theirs"}}
	result, err := cfg.grants.Match(s, &session.Request{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	token, err := cfg.keys.sign(result, public(newKey(t, nkeys.CreateUser)), forwarded.SessionTag("kv/mine"))
	if err != nil {
		t.Fatal(err)
	}
	user, err := jwt.DecodeUserClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	if name, _ := forwarded.SessionOf(user.Tags); name != "kv/mine" || len(user.Tags) != 3 {
		t.Errorf("the session is %q, by the tags %q", name, user.Tags)
	}
}
