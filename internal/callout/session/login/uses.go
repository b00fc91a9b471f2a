package login

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session/internal/sealed"
)

// uses is what is stored of the tickets and passes of a session that were used. It has at most
// maxUses of each, so what a visitor can make us store is limited.
type uses struct {
	Tickets []usedTicket `json:"tickets,omitempty"` // the one that was used last is at the end
	Passes  []boundPass  `json:"passes,omitempty"`  // the same
	// Dropped is when the newest of the dropped passes was made. An older pass that is not in
	// Passes may have been bound to another key, and is refused.
	Dropped int64 `json:"dropped,omitempty"` // Unix milliseconds
	// Since is when the bucket was created. It is not known which tickets were used before that.
	Since int64 `json:"since,omitempty"` // Unix milliseconds
}

// maxUses is more than the connections or workers that a visitor has at a time.
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

// short returns what is stored of an identifier, to compare it.
func short(id string) string { return hashed(id)[:24] }

// ticket marks a ticket as used by a connection, and reports whether u has changed. Expired tickets
// can be dropped: they open no other connection, and the connection that one has opened is refused
// at its next renewal.
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

// pass binds a pass to the first key that comes with it, and reports whether u has changed.
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

// toEnd moves an element that was used again to the end of the list, so that it is not dropped
// soon. It does nothing, and so nothing is written, while the element is far from being dropped.
func toEnd[T any](list []T, at int) bool {
	if len(list) < maxUses/2 || at >= len(list)/2 {
		return false
	}
	again := list[at]
	copy(list[at:], list[at+1:])
	list[len(list)-1] = again
	return true
}

// change reads the uses of a session, and writes them if edit reports a change. If two handlers do
// that at the same time, one of them succeeds, and the other reads again.
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

// uses reads the uses under a name. revision is 0 if there are none.
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
		return nil, 0, sealed.ErrNotOpened // the error of json may quote what it read
	}
	return u, found.Revision(), nil
}

// indexMade returns when the index bucket was created, in Unix milliseconds.
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

// forget removes the uses of a session that has ended. If that fails, they are removed by the
// bucket's TTL.
func (s *store) forget(ctx context.Context, session string) {
	ctx, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	_ = s.index.Purge(ctx, "used."+session)
}
