package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"stamp/server/callout/session"
)

// A ticket is a secret that one connection can be made with, in place of the cookie: a page asks
// for it with its cookie and gives it to whoever connects, as the token of CONNECT. It is sealed, and
// nothing is kept of it before it is used.

const ticketPrefix = "ticket_"

// ticketName is what tickets are sealed for.
const ticketName = "ticket"

// ticket is what one says. Nkey is the key that has to sign the server's nonce; empty: none.
type ticket struct {
	ID      string `json:"id"`
	Session string `json:"session"` // key
	Expires int64  `json:"expires"` // Unix milliseconds
	Made    int64  `json:"made"`    // the same; 0: older releases did not tell
	Nkey    string `json:"nkey,omitempty"`
}

// Errors of tickets.
var (
	errTicketUnknown = errors.New("ticket is unknown")
	errTicketUsed    = errors.New("ticket was used already, by another connection: a replay")
	errTicketExpired = errors.New("ticket has expired")
	errTicketKey     = errors.New("ticket is for another key, or the server's nonce is not signed with its own")
	errTicketMany    = errors.New("too many tickets of the session were used at once")
	errTicketLost    = errors.New("ticket is older than the bucket that would tell whether it was used")
)

func isTicket(credential string) bool { return strings.HasPrefix(credential, ticketPrefix) }

// newTicket makes a ticket for a session, and for a key unless that is empty.
func (k sourceKeys) newTicket(session, nkey string, life time.Duration) (string, error) {
	now := time.Now()
	text, err := json.Marshal(ticket{ID: newSecret(), Session: session, Nkey: nkey, Expires: now.Add(life).UnixMilli(), Made: now.UnixMilli()})
	if err != nil {
		return "", err
	}
	value, err := k.seal(ticketName, text)
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(value), err
}

// made is when a ticket was made, or before, in Unix milliseconds.
func (t ticket) made() int64 {
	if t.Made > 0 {
		return t.Made
	}
	return t.Expires - maxTicket.Milliseconds()
}

func (k sourceKeys) openTicket(credential string) (t ticket, ok bool) {
	value, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(credential, ticketPrefix))
	if err != nil {
		return t, false
	}
	text, err := k.open(ticketName, value)
	return t, err == nil && json.Unmarshal(text, &t) == nil
}

// redeem returns the key of a ticket's session. Of two connections that come with it, one wins. It may come with it
// again, to be renewed.
func (s *store) redeem(ctx context.Context, c *session.Credential, conn string) (session string, err error) {
	t, ok := s.cfg.own.openTicket(c.Value)
	switch {
	case !ok:
		return "", errTicketUnknown
	case t.Nkey != "" && (c.Nkey != t.Nkey || !c.Signed()):
		return "", errTicketKey
	}
	return t.Session, s.change(ctx, t.Session, func(u *uses) (bool, error) { return u.ticket(t, conn, time.Now()) })
}
