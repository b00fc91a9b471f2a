package hook

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
)

// The server makes a new user key for each connection that an auth callout lets in, so the revocations of an account could
// name all of these connections (`*`) or none. Our handler can give a user a key that stays the same, in a tag. Revocations of
// that key are enforced here: when the connection is authenticated or renewed, and when the account is updated.

var errRevoked = errors.New("its user key is revoked in the account")

// userKeys are the connections with such a key, and what their accounts have revoked.
type userKeys struct {
	mu       sync.Mutex
	conns    map[uint64]keyed
	lived    int // how many were alive when conns was last swept
	accounts map[string]revocations
}

// keyed is one connection.
type keyed struct {
	account, key string
	issued       int64 // its user JWT, in Unix seconds
}

// revocations of an account: user JWTs that were issued until a time do not count.
type revocations struct {
	token  string // the account JWT
	issued int64
	until  map[string]int64
}

func (r revocations) cover(k keyed) bool {
	for _, key := range []string{jwt.All, k.key} {
		if until, ok := r.until[key]; ok && until >= k.issued {
			return true
		}
	}
	return false
}

// attach notes a connection. An error refuses it. What the account revokes is looked at after an update has noted it, or the
// update finds the connection: one of the two sees the other.
func (u *userKeys) attach(info *natsserver.AttachInfo) error {
	key, ok := forwarded.UserKeyOf(info.UserClaims.Tags)
	if ok {
		u.sweep(info.Server.HasConnection)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, info.CID)
	if !ok || info.AccountJWT == "" {
		return nil
	}
	k := keyed{info.Account, key, info.UserClaims.IssuedAt}
	if u.note(info.Account, info.AccountJWT, true).cover(k) {
		return errRevoked
	}
	if u.conns == nil {
		u.conns = map[uint64]keyed{}
	}
	u.conns[info.CID] = k
	return nil
}

// update notes the new JWT of an account, and returns the connections that it revokes.
func (u *userKeys) update(account, token string) (cids []uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.note(account, token, false)
	if len(r.until) == 0 {
		return nil
	}
	for cid, k := range u.conns {
		if k.account == account && r.cover(k) {
			cids = append(cids, cid)
			delete(u.conns, cid)
		}
	}
	return cids
}

// note returns the revocations of the newest JWT that is known of an account. An account without connections and without
// revocations is not kept. inForce tells that the account has the JWT; one that is about to replace it may be known
// already. The lock is held.
func (u *userKeys) note(account, token string, inForce bool) revocations {
	known, ok := u.accounts[account]
	if ok && known.token == token {
		return known
	}
	next := parseRevocations(token)
	if ok && (next.issued < known.issued || inForce && next.issued == known.issued) {
		return known
	}
	if ok || inForce || len(next.until) > 0 {
		if u.accounts == nil {
			u.accounts = map[string]revocations{}
		}
		u.accounts[account] = next
	}
	return next
}

// sweep drops connections that are gone, when there may be many. alive takes locks of the server, which may be held where
// an account is updated, so it is not asked under ours.
func (u *userKeys) sweep(alive func(cid uint64) bool) {
	u.mu.Lock()
	if len(u.conns) < 2*u.lived+1024 {
		u.mu.Unlock()
		return
	}
	cids := slices.Collect(maps.Keys(u.conns))
	u.lived = len(cids) // so that nobody else sweeps meanwhile
	u.mu.Unlock()
	gone := slices.DeleteFunc(cids, alive)
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, cid := range gone {
		delete(u.conns, cid)
	}
	u.lived = len(u.conns)
}

// parseRevocations reads an account JWT whose signature was verified. One that cannot be read has none: the server refuses it.
func parseRevocations(token string) revocations {
	r := revocations{token: token}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return r
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return r
	}
	var claims struct {
		Issued int64 `json:"iat"`
		NATS   struct {
			Revocations map[string]int64 `json:"revocations"`
		} `json:"nats"`
	}
	if json.Unmarshal(payload, &claims) == nil {
		r.issued, r.until = claims.Issued, claims.NATS.Revocations
	}
	return r
}

// closeRevoked closes the connections that an account update revokes.
func (h *Hook) closeRevoked(s *natsserver.Server, account, token string) {
	cids := h.userKeys.update(account, token)
	if len(cids) == 0 {
		return
	}
	// The server is in the middle of the update.
	go func() {
		for _, cid := range cids {
			s.CloseConnection(cid)
		}
		s.Noticef("Account %q: closed %d connections whose user keys are revoked", account, len(cids))
	}()
}
