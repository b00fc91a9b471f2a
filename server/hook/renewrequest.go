package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp/server/callout/announce"
	"stamp/server/callout/forwarded"
)

// Requests to renew connections, or to close them: from users of the system account, from handlers, and from other servers.

var (
	errRenew        = errors.New(`expected a JSON object with one of "cid", "session", "user", "all" and "pending", and maybe "account" and "kick"`)
	errRenewAccount = errors.New(`account: expected the public key of an account, which operator mode needs`)
)

// maxAgain bounds the requests that one message says again.
const maxAgain = 10_000

// maxSession bounds the name of a session, in bytes: names are kept for a minute. No source has longer ones.
const maxSession = 16 << 10

var errSession = fmt.Errorf("session: longer than %d bytes", maxSession)

// Renew implements natsserver.Extension.
func (h *Hook) Renew(s *natsserver.Server, body []byte) (any, error) {
	var q forwarded.Renew
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(&q) != nil || len(bytes.TrimSpace(body[d.InputOffset():])) > 0 {
		return nil, errRenew
	}
	return h.renewHere(s, q)
}

// renewHere is Renew for the connections of s.
func (h *Hook) renewHere(s *natsserver.Server, q forwarded.Renew) (*forwarded.Renewed, error) {
	if len(q.Again) == 0 {
		return h.renewOne(s, q)
	}
	if ways(q) > 0 || len(q.Again) > maxAgain {
		return nil, errRenew
	}
	all := &forwarded.Renewed{}
	for _, one := range q.Again {
		if one.Session == "" || len(one.Again) > 0 {
			return nil, errRenew
		}
		done, err := h.renewOne(s, one)
		if err != nil {
			return nil, err
		}
		all.Connections += done.Connections
	}
	return all, nil
}

func (h *Hook) renewOne(s *natsserver.Server, q forwarded.Renew) (*forwarded.Renewed, error) {
	r := h.renewer(s)
	done := &forwarded.Renewed{Refused: h.counters.refusedRenewals.Load(), GivenUp: h.counters.givenUpRenewals.Load()}
	cids, err := r.choose(s, q)
	if err != nil {
		return nil, err
	}
	for _, cid := range cids {
		if q.Kick {
			s.CloseConnection(cid)
		} else {
			r.ask(cid)
		}
	}
	done.Connections, done.Pending = len(cids), r.pending()
	return done, nil
}

// ways is how many fields of a request say which connections it is for.
func ways(q forwarded.Renew) (n int) {
	for _, set := range []bool{q.CID > 0, q.Session != "", q.User != "", q.All, q.Pending} {
		if set {
			n++
		}
	}
	return n
}

// choose returns the connections that a request is for.
func (r *renewer) choose(s *natsserver.Server, q forwarded.Renew) ([]uint64, error) {
	switch {
	case len(q.Session) > maxSession:
		return nil, errSession
	case ways(q) != 1, q.Account != "" && (q.CID > 0 || q.Pending), q.Kick && q.Pending, q.Ago < 0, q.Ago > 0 && q.Session == "":
		return nil, errRenew
	}
	if q.Account != "" && isOperatorMode(s.RunningOptions()) && !nkeys.IsValidPublicAccountKey(q.Account) {
		return nil, errRenewAccount
	}
	switch {
	case q.CID > 0:
		if !s.HasConnection(q.CID) {
			return nil, natsserver.ErrRenewNoConnection
		}
		return []uint64{q.CID}, nil
	case q.Session != "":
		cids, since := r.sessions.of(q.Session, q.Account, q.Kick, q.Ago)
		r.askAll(since)
		return cids, nil
	case q.User != "":
		return inAccountOnly(s, s.ConnectionsOf(q.User), q.Account), nil
	case q.All:
		return inAccountOnly(s, s.StaleCallouts(), q.Account), nil
	}
	return nil, nil
}

// inAccountOnly returns those of the connections that are in an account; empty: all.
func inAccountOnly(s *natsserver.Server, cids []uint64, account string) []uint64 {
	if account == "" {
		return cids
	}
	return slices.DeleteFunc(cids, func(cid uint64) bool { return accountOf(s, cid) != account })
}

// accountOf is the name of a connection's account, in operator mode its public key; empty when it is gone.
func accountOf(s *natsserver.Server, cid uint64) string {
	c := s.GetClient(cid)
	if c == nil {
		c = s.GetLeafNode(cid)
	}
	if account := c.Account(); account != nil {
		return account.GetName()
	}
	return ""
}

// renewAll is Renew on s, and on all other servers that its system account reaches, now or when they come back.
func (h *Hook) renewAll(s *natsserver.Server, q forwarded.Renew) {
	// A session that has no connection here may have some there.
	_, _ = h.renewHere(s, q)
	_ = h.announcer(s).Tell(q) // RenewAll queues the message
}

// announcer returns what tells the other servers.
func (h *Hook) announcer(s *natsserver.Server) *announce.Announcer {
	h.announcing.Do(func() {
		h.announced.Store(announce.New(func(q forwarded.Renew) error {
			s.RenewAll(&q)
			return nil
		}))
	})
	return h.announced.Load()
}

// returned is told that another server is connected, maybe again.
func (h *Hook) returned() {
	if a := h.announced.Load(); a != nil {
		a.RepeatAll()
	}
}
