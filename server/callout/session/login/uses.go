package login

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/callout/session/internal/sealed"
)

// uses is what is kept of the tickets and passes of a session: those that were used, and no more of each than maxUses.
// So what a visitor can have stored is bounded, however often a page asks.
type uses struct {
	Tickets []usedTicket `json:"tickets,omitempty"` // the one that was used last is at the end
	Passes  []boundPass  `json:"passes,omitempty"`  // the same
	// Dropped is when the newest pass that was dropped was made. What of an older one is not in Passes may have been
	// bound to a key, and is refused.
	Dropped int64 `json:"dropped,omitempty"` // Unix milliseconds
	// Since is when the bucket was made that this is in. What tickets were used for before is not known.
	Since int64 `json:"since,omitempty"` // Unix milliseconds
}

// maxUses is more than a visitor has connections, or workers that are alive.
const maxUses = 256

type usedTicket struct {
	ID      string `json:"id"`
	Conn    string `json:"conn"`
	Expires int64  `json:"expires"` // Unix milliseconds
}

type boundPass struct {
	ID   string `json:"id"`
	Nkey string `json:"nkey"`
	Made int64  `json:"made"` // Unix milliseconds
}

// short is what of an identifier is kept, to be compared.
func short(id string) string { return hashed(id)[:24] }

// ticket uses a ticket for a connection, and tells whether u has changed. A ticket that has expired can be forgotten:
// it opens no other connection, and the one that it has opened is refused at its next renewal.
func (u *uses) ticket(t ticket, conn string, now time.Time) (changed bool, err error) {
	next := usedTicket{short(t.ID), short(conn), t.Expires}
	at := slices.IndexFunc(u.Tickets, func(k usedTicket) bool { return k.ID == next.ID })
	if at >= 0 {
		if u.Tickets[at].Conn != next.Conn {
			return false, errTicketUsed
		}
		return toEnd(u.Tickets, at), nil
	}
	switch {
	case now.UnixMilli() >= t.Expires:
		return false, errTicketExpired
	case t.made() <= u.Since:
		return false, errTicketLost
	}
	if len(u.Tickets) >= maxUses {
		spare := slices.IndexFunc(u.Tickets, func(k usedTicket) bool { return now.UnixMilli() >= k.Expires })
		if spare < 0 {
			return false, errTicketMany
		}
		u.Tickets = slices.Delete(u.Tickets, spare, spare+1)
	}
	u.Tickets = append(u.Tickets, next)
	return true, nil
}

// pass binds a pass to the key that comes with it first, and tells whether u has changed.
func (u *uses) pass(p pass, nkey string) (changed bool, err error) {
	next := boundPass{short(p.ID), short(nkey), p.Made}
	at := slices.IndexFunc(u.Passes, func(k boundPass) bool { return k.ID == next.ID })
	switch {
	case at >= 0 && u.Passes[at].Nkey != next.Nkey:
		return false, errOtherKey
	case at >= 0:
		return toEnd(u.Passes, at), nil
	case p.Made <= u.Dropped:
		return false, errOldPass
	}
	if len(u.Passes) >= maxUses {
		u.Dropped = max(u.Dropped, u.Passes[0].Made)
		u.Passes = slices.Delete(u.Passes, 0, 1)
	}
	u.Passes = append(u.Passes, next)
	return true, nil
}

// toEnd moves what is used again to the end, so that it is not dropped soon; while that is far, nothing is written.
func toEnd[T any](list []T, at int) bool {
	if len(list) < maxUses/2 || at >= len(list)/2 {
		return false
	}
	again := list[at]
	copy(list[at:], list[at+1:])
	list[len(list)-1] = again
	return true
}

// change reads the uses of a session, and writes them when edit says that they have changed. Of two at once, one wins,
// and the other one sees what it has written.
func (s *store) change(ctx context.Context, session string, edit func(*uses) (bool, error)) error {
	name := "used." + session
	for {
		u, revision, err := s.uses(ctx, name)
		if err != nil {
			return err
		}
		changed, err := edit(u)
		if err != nil || !changed {
			return err
		}
		text, err := json.Marshal(u)
		if err != nil {
			return err
		}
		value, err := s.cfg.keys.Seal(name, text)
		if err != nil {
			return err
		}
		if revision == 0 {
			_, err = s.index.Create(ctx, name, value)
		} else {
			_, err = s.index.Update(ctx, name, value, revision)
		}
		if !isConflict(err) {
			return plain(err)
		}
	}
}

// uses reads those under a name; revision 0: there are none.
func (s *store) uses(ctx context.Context, name string) (u *uses, revision uint64, err error) {
	u = &uses{}
	found, err := s.index.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		u.Since, err = s.indexMade(ctx)
		return u, 0, err
	}
	if err != nil {
		return nil, 0, plain(err)
	}
	text, err := s.cfg.keys.Open(name, found.Value())
	if err != nil {
		return nil, 0, err
	}
	if json.Unmarshal(text, u) != nil {
		return nil, 0, sealed.ErrNotOpened // its text may quote what it read
	}
	return u, found.Revision(), nil
}

// indexMade is when the bucket of the index was made, in Unix milliseconds.
func (s *store) indexMade(ctx context.Context) (int64, error) {
	status, err := s.index.Status(ctx)
	if err != nil {
		return 0, plain(err)
	}
	bucket, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return 0, errIndexLost
	}
	return bucket.StreamInfo().Created.UnixMilli(), nil
}

// forget drops the uses of a session that has ended. They end with the bucket's TTL otherwise.
func (s *store) forget(ctx context.Context, session string) { _ = s.index.Purge(ctx, "used."+session) }
