package hook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/forwarded"
)

const (
	keyOne = "UDQS27WING5NLDM6PC6Q2XHC5E5KPJWZNRXH2E5MTK7REA2LWBAMKI3A"
	keyTwo = "UDW2Z5MSIZZIGO2M5QLFF6JGZF2B7NSLJBBJBKVICDECSS7CCVGWHRRV"
)

// revokingJWT is an account JWT that was issued at a time, with revocations. It has no valid signature, which the server would verify.
func revokingJWT(issued int64, revoked string) string {
	payload := fmt.Sprintf(`{"iat":%d,"nats":{"revocations":%s}}`, issued, revoked)
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".x"
}

func keyedInfo(t *testing.T, cid uint64, account, key, token string, issued int64) *natsserver.AttachInfo {
	t.Helper()
	uc := &jwt.UserClaims{}
	uc.IssuedAt = issued
	if key != "" {
		uc.Tags = jwt.TagList{"other", forwarded.UserKeyTag(key)}
	}
	return &natsserver.AttachInfo{
		Server: unstarted(t), CID: cid, UserClaims: uc,
		AttachedAccount: natsserver.AttachedAccount{Account: account, AccountJWT: token},
	}
}

// A revocation closes the connections of its key, account and time, and refuses new ones.
func TestUserKeysAreRevoked(t *testing.T) {
	var u userKeys
	first := revokingJWT(10, `{}`)
	for cid, c := range map[uint64]struct {
		account, key string
		issued       int64
	}{1: {"A", keyOne, 11}, 2: {"A", keyTwo, 11}, 3: {"A", keyOne, 21}, 4: {"B", keyOne, 11}, 5: {"A", "", 11}} {
		if err := u.add(keyedInfo(t, cid, c.account, c.key, first, c.issued)); err != nil {
			t.Errorf("cannot add connection %d: %v", cid, err)
		}
	}
	second := revokingJWT(20, fmt.Sprintf(`{%q:20}`, keyOne))
	if got := u.update("A", second); !slices.Equal(got, []uint64{1}) {
		t.Errorf("closed %v, not the connection of that key, account and time", got)
	}
	if got := u.update("A", second); len(got) != 0 {
		t.Errorf("an account JWT without a new revocation closed connections %v", got)
	}
	// A callout that was answered before the revocation, while the account still has its old JWT.
	for _, token := range []string{first, second, revokingJWT(20, `{}`)} {
		if err := u.add(keyedInfo(t, 6, "A", keyOne, token, 20)); !errors.Is(err, errRevoked) {
			t.Errorf("a revoked user is accepted: %v", err)
		}
	}
	if err := u.add(keyedInfo(t, 6, "A", keyOne, second, 21)); err != nil {
		t.Errorf("a user JWT that was issued after the revocation: %v", err)
	}
	// A revocation of all users, until a time to come.
	if got := u.update("A", revokingJWT(30, `{"*":100}`)); len(got) != 3 {
		t.Errorf("revoking all users closed connections %v, want all three", got)
	}
	if err := u.add(keyedInfo(t, 7, "A", keyTwo, second, 50)); !errors.Is(err, errRevoked) {
		t.Errorf("a user is accepted although all users of the account are revoked: %v", err)
	}
	// A revocation that is taken back, and a JWT that cannot be read.
	u.update("A", revokingJWT(40, `{}`))
	if err := u.add(keyedInfo(t, 7, "A", keyTwo, revokingJWT(40, `{}`), 50)); err != nil {
		t.Error(err)
	}
	for _, token := range []string{"", "x", "a.b.c", "a.!.c", revokingJWT(50, `7`)} {
		u.update("A", token)
	}
}

// Accounts without connections and without revocations are not kept, nor are closed connections.
func TestUserKeysAreDropped(t *testing.T) {
	var u userKeys
	for i := range 5000 {
		u.update(fmt.Sprint("account ", i), revokingJWT(10, `{}`))
		if err := u.add(keyedInfo(t, uint64(i+1), "A", keyOne, revokingJWT(10, `{}`), 11)); err != nil { // the server knows none of them
			t.Fatal(err)
		}
	}
	if len(u.accounts) != 1 || len(u.conns) > 1100 {
		t.Errorf("%d accounts and %d connections are kept", len(u.accounts), len(u.conns))
	}
}

func FuzzParseRevocations(f *testing.F) {
	f.Add(revokingJWT(1, `{"*":1}`))
	f.Fuzz(func(t *testing.T, token string) { parseRevocations(token) })
}

// unstarted returns a server that is never started, the same one for all tests.
var unstarted = func() func(t *testing.T) *natsserver.Server {
	var s *natsserver.Server
	return func(t *testing.T) *natsserver.Server {
		if s == nil {
			s = inert(t)
		}
		return s
	}
}()
