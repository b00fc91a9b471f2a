package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/forwarded"
)

// This file answers requests to renew connections, or to close them. They come from users of the
// system account, from callout handlers, and from other servers.

var (
	errRenew        = errors.New(`expected a JSON object with exactly one of "cid", "session", "user", "all" and "pending", and optionally "account" and "kick"`)
	errRenewAccount = errors.New(`account: expected the public key of an account, because the server is in operator mode`)
	errSession      = fmt.Errorf("session: expected at most %d bytes", maxSession)
)

// maxAgain is how many repeated requests one message may contain.
const maxAgain = 10_000

// maxSession is the longest name of a session in a request, in bytes. Names are kept for a minute,
// and the names that session sources give are shorter.
const maxSession = 16 << 10

// Renew implements natsserver.Extension.
func (h *Hook) Renew(s *natsserver.Server, body []byte) (any, error) {
	var q forwarded.Renew
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(&q) != nil || len(bytes.TrimSpace(body[d.InputOffset():])) > 0 {
		return nil, errRenew
	}
	if q.Follows != nil {
		return h.heardFollower(s, q)
	}
	return h.renewHere(s, q)
}

// renewHere carries out a request for the connections of s.
func (h *Hook) renewHere(s *natsserver.Server, q forwarded.Renew) (*forwarded.Renewed, error) {
	if len(q.Again) == 0 {
		return h.renewOne(s, q)
	}
	if countSelectors(q) > 0 || len(q.Again) > maxAgain {
		return nil, errRenew
	}
	sum := &forwarded.Renewed{}
	for _, one := range q.Again {
		if one.Session == "" || len(one.Again) > 0 {
			return nil, errRenew
		}
		done, err := h.renewOne(s, one)
		if err != nil {
			return nil, err
		}
		sum.Connections += done.Connections
	}
	return sum, nil
}

// renewOne carries out a request without Again.
func (h *Hook) renewOne(s *natsserver.Server, q forwarded.Renew) (*forwarded.Renewed, error) {
	r := h.renewer(s)
	done := &forwarded.Renewed{Refused: h.counters.refusedRenewals.Load(), GivenUp: h.counters.givenUpRenewals.Load()}
	found, err := r.begin(s, q)
	if err != nil {
		return nil, err
	}
	if q.Kick {
		for _, cid := range found.cids {
			if q.Session == "" || r.sessions.has(q.Session, cid) { // it may have left the session since
				s.CloseConnection(cid)
			}
		}
	}
	done.Connections = len(found.cids)
	if q.Revision == nil {
		// That looks at all connections. Nobody reads the answer to a request of a handler.
		done.Pending = r.countPending()
	}
	return done, nil
}

// begin returns the connections that a request selects, and begins to renew those that are to be
// renewed.
func (r *renewer) begin(s *natsserver.Server, q forwarded.Renew) (selected, error) {
	if q.Session != "" {
		// Otherwise a second request about the same change could find that this one was carried out,
		// and its renewals not begun.
		r.requesting.Lock()
		defer r.requesting.Unlock()
	}
	found, err := r.selectConns(s, q)
	if err != nil {
		return found, err
	}
	if !q.Kick {
		r.renewAllNow(found.cids)
	}
	r.renewAllNow(found.unsure)
	return found, nil
}

// countSelectors returns how many fields of a request select connections. Pending, which selects
// none, counts as one.
func countSelectors(q forwarded.Renew) (n int) {
	for _, set := range []bool{q.CID > 0, q.Session != "", q.User != "", q.All, q.Pending} {
		if set {
			n++
		}
	}
	return n
}

// selectConns returns the connections to which a request applies. For a session it also stores the
// request.
func (r *renewer) selectConns(s *natsserver.Server, q forwarded.Renew) (found selected, err error) {
	switch {
	case len(q.Session) > maxSession:
		return found, errSession
	case countSelectors(q) != 1, q.Account != "" && (q.CID > 0 || q.Pending), q.Kick && q.Pending, q.Ago < 0, q.Ago > 0 && q.Session == "", q.Revision != nil && q.Session == "":
		return found, errRenew
	}
	if q.Account != "" && isOperatorMode(s.RunningOptions()) && !nkeys.IsValidPublicAccountKey(q.Account) {
		return found, errRenewAccount
	}
	switch {
	case q.CID > 0:
		if !s.HasConnection(q.CID) {
			return found, natsserver.ErrRenewNoConnection
		}
		found.cids = []uint64{q.CID}
	case q.Session != "":
		found = r.sessions.request(q)
	case q.User != "":
		found.cids = onlyInAccount(s, s.ConnectionsOf(q.User), q.Account)
	case q.All:
		found.cids = onlyInAccount(s, s.StaleCallouts(), q.Account)
	}
	return found, nil
}

// onlyInAccount returns those of the connections that are in an account, or all if account is empty.
func onlyInAccount(s *natsserver.Server, cids []uint64, account string) []uint64 {
	if account == "" {
		return cids
	}
	return slices.DeleteFunc(cids, func(cid uint64) bool { return s.AccountOfConnection(cid) != account })
}

// renewAll carries out a request on s and on all other servers that its system account reaches, on
// those that are cut off when they return.
func (h *Hook) renewAll(s *natsserver.Server, q forwarded.Renew) {
	_, _ = h.renewHere(s, q)                 // after an error here, the request may still succeed on other servers
	_ = h.telling.start(s).announcer.Tell(q) // never fails, because RenewAll only queues the message
}
