package hook

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/forwarded"
)

// The server creates a new user key for each connection that an auth callout authenticates, so an
// account could revoke all such users (`*`) or none. Our callout handler can give a user a constant
// key, in a tag of the user JWT. This file enforces revocations of that key when a connection is
// authenticated or renewed, and when the account is updated.

var errRevoked = errors.New("the user key is revoked in the account")

// userKeys holds the connections whose users have a constant key, and the revocations of their
// accounts.
type userKeys struct {
	mu           sync.Mutex
	conns        map[uint64]keyedConn // by connection id
	aliveAtSweep int                  // number of conns after the last dropGone
	accounts     map[string]revocations
}

// keyedConn is a connection whose user has a constant key.
type keyedConn struct {
	account, key string
	issued       int64 // when its user JWT was issued, in Unix seconds
}

// revocations are those in one account JWT.
type revocations struct {
	token  string           // the account JWT
	issued int64            // in Unix seconds
	until  map[string]int64 // by user key: user JWTs that were issued at or before this time are revoked
}

// revoke reports whether r revokes the user of a connection.
func (r revocations) revoke(c keyedConn) bool {
	for _, key := range []string{jwt.All, c.key} {
		if until, ok := r.until[key]; ok && until >= c.issued {
			return true
		}
	}
	return false
}

// add adds a connection that was authenticated or renewed. It returns an error if the user is
// revoked.
//
// No revocation is missed in a race with update, because both hold the lock: either add sees the
// revocations of the update, or the update sees the connection.
func (u *userKeys) add(info *natsserver.AttachInfo) error {
	key, ok := forwarded.UserKeyOf(info.UserClaims.Tags)
	if ok {
		u.dropGone(info.Server.HasConnection)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, info.CID)
	if !ok || info.AccountJWT == "" {
		return nil
	}
	conn := keyedConn{info.Account, key, info.UserClaims.IssuedAt}
	if u.storeRevocations(info.Account, info.AccountJWT, true).revoke(conn) {
		return errRevoked
	}
	if u.conns == nil {
		u.conns = map[uint64]keyedConn{}
	}
	u.conns[info.CID] = conn
	return nil
}

// remove removes a connection whose user is another one now, without a constant key.
func (u *userKeys) remove(cid uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, cid)
}

// update stores the revocations in the new JWT of an account. It removes and returns the
// connections whose users are revoked.
func (u *userKeys) update(account, token string) (cids []uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.storeRevocations(account, token, false)
	if len(r.until) == 0 {
		return nil
	}
	for cid, conn := range u.conns {
		if conn.account == account && r.revoke(conn) {
			cids = append(cids, cid)
			delete(u.conns, cid)
		}
	}
	return cids
}

// storeRevocations stores the revocations in a JWT of an account if the JWT is newer than the
// stored one, and returns the newest ones. inForce is set if the server uses this JWT now; the
// stored JWT may be the one that will replace it. An account without connections and without
// revocations is not stored. The lock is held.
func (u *userKeys) storeRevocations(account, token string, inForce bool) revocations {
	stored, ok := u.accounts[account]
	if ok && stored.token == token {
		return stored
	}
	next := parseRevocations(token)
	if ok && (next.issued < stored.issued || inForce && next.issued == stored.issued) {
		return stored
	}
	if ok || inForce || len(next.until) > 0 {
		if u.accounts == nil {
			u.accounts = map[string]revocations{}
		}
		u.accounts[account] = next
	}
	return next
}

// dropGone drops connections that are closed, if their number may have become large. alive takes
// locks of the server, and the server may hold these when it calls update, so alive must not be
// called while u's lock is held.
func (u *userKeys) dropGone(alive func(cid uint64) bool) {
	u.mu.Lock()
	if len(u.conns) < 2*u.aliveAtSweep+1024 {
		u.mu.Unlock()
		return
	}
	cids := slices.Collect(maps.Keys(u.conns))
	u.aliveAtSweep = len(cids) // so that no other call does the same meanwhile
	u.mu.Unlock()
	gone := slices.DeleteFunc(cids, alive)
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, cid := range gone {
		delete(u.conns, cid)
	}
	u.aliveAtSweep = len(u.conns)
}

// parseRevocations returns the revocations in an account JWT whose signature was verified. If the
// JWT cannot be decoded it returns none; the server refuses such a JWT.
func parseRevocations(token string) revocations {
	r := revocations{token: token}
	var claims struct {
		Issued int64 `json:"iat"`
		NATS   struct {
			Revocations map[string]int64 `json:"revocations"`
		} `json:"nats"`
	}
	if decodeClaims(token, &claims) {
		r.issued, r.until = claims.Issued, claims.NATS.Revocations
	}
	return r
}

// closeRevoked closes the connections whose users an account update revokes.
func (h *Hook) closeRevoked(s *natsserver.Server, account, token string) {
	cids := h.userKeys.update(account, token)
	if len(cids) == 0 {
		return
	}
	// In the background, because the server holds locks during the update.
	go func() {
		for _, cid := range cids {
			s.CloseConnection(cid)
		}
		s.Noticef("Account %q: closed %d connections whose user keys are revoked", account, len(cids))
	}()
}
