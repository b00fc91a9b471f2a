package callout

import (
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/server/callout/forwarded"
	"stamp/server/callout/grant"
)

// The tag that names the session stands before those of the grant: of tags that look alike, the first counts.
func TestTagsOfAGrantNameNoSession(t *testing.T) {
	cfg := parse(t, `
		sessions: [{kind: anonymous}]
		grants: [{account: APP, publish: [], subscribe: []}]`)
	result := &grant.Result{Account: "APP", User: &jwt.UserClaims{}}
	result.User.Tags = jwt.TagList{"stamp-session:kv/static", "stamp-session:kv/theirs"} // package grant refuses them
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
