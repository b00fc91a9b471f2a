package callout

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/grant"
	"stamp/internal/conf"
)

// The handler puts the tag with the session in front of the grant's tags: of tags that look alike, the first one counts.
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

// While servers change to a new xkey, the handler reads requests that were encrypted to an older one, and answers with that
// one, which the server still decrypts with.
func TestOlderXKeys(t *testing.T) {
	old, other := newKeys(t), newKeys(t)
	k := &keys{issuer: old.issuer, xkey: newKeys(t).xkey, older: []nkeys.KeyPair{other.xkey, old.xkey}}
	for name, by := range map[string]*keys{"new": {issuer: k.issuer, xkey: k.xkey}, "older": {issuer: k.issuer, xkey: other.xkey}, "oldest": old} {
		m, server := calloutOf(t, by)
		r, err := k.read(newArrival(nil, m))
		if err != nil {
			t.Fatalf("a request to the %s xkey cannot be read: %v", name, err)
		}
		sealed, err := k.respond(r, "", "refused")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := server.Open(sealed, public(by.xkey)); err != nil {
			t.Errorf("%s: the server cannot decrypt the answer: %v", name, err)
		}
	}
	stranger, _ := calloutOf(t, newKeys(t))
	if _, err := k.read(newArrival(nil, stranger)); !errors.Is(err, errDecrypt) {
		t.Errorf("a request that was encrypted to another key: expected errDecrypt; found %v", err)
	}
}

func TestXKeysOfAConfiguration(t *testing.T) {
	seed := func() string {
		s, err := newKey(t, nkeys.CreateCurveKeys).Seed()
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	file := filepath.Join(t.TempDir(), "xkeys.nk")
	if err := os.WriteFile(file, []byte(seed()+"\n"+seed()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]any{
		"xkey: " + seed() + "\nxkeys: [" + seed() + "]":                                            1,
		"xkey: " + seed() + "\nxkeys_file: " + strconv.Quote(file):                                 2,
		"xkey: " + seed() + "\nxkeys_file: " + strconv.Quote(file+".gone"):                         0, // after the last step
		"xkeys: [" + seed() + "]":                                                                  "there is none",
		"xkey: " + seed() + "\nxkeys: [x]":                                                         "xkeys: expected the seed of a curve key",
		"xkey: " + seed() + "\nxkeys: [" + strings.Repeat(seed()+", ", 4) + "]":                    "more than 3",
		"xkey: " + seed() + "\nxkeys: [" + seed() + "]\nxkeys_file: " + strconv.Quote(file) + "\n": 3,
	} {
		n, err := conf.ParseString(text + anonymousConf + "\n")
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		cfg := Parse(n, &faults)
		err = faults.Err()
		if reason, bad := want.(string); bad {
			if err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "SXA") {
				t.Errorf("expected the error %q, without a seed; found %v", reason, err)
			}
		} else if err != nil || len(cfg.keys.older) != want {
			t.Errorf("expected %d older keys and no error; found %v", want, err)
		}
	}
}
