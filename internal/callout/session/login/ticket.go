package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"stamp/internal/callout/session"
)

// A ticket is a secret with which one connection can be made in place of the cookie. A page asks
// for it with its cookie, and whoever connects sends it as the token of CONNECT. Tickets are
// sealed; the handler stores nothing of one until it is used.

const ticketPrefix = "ticket_"

// ticketName is the name under which tickets are sealed.
const ticketName = "ticket"

// ticket is the content of a ticket. If Nkey is not empty, the connection must sign the server's
// nonce with that key.
type ticket struct {
	ID      string `json:"id"`
	Session string `json:"session"` // key of the session
	Expires int64  `json:"expires"` // Unix milliseconds
	Made    int64  `json:"made"`    // Unix milliseconds; 0 in tickets of older releases
	Nkey    string `json:"nkey,omitempty"`
}

// Reasons to refuse a ticket.
var (
	errTicketUnknown = errors.New("ticket is unknown")
	errTicketUsed    = errors.New("ticket was used already, by another connection: a replay")
	errTicketExpired = errors.New("ticket has expired")
	errTicketKey     = errors.New("ticket is for another key, or the server's nonce is not signed with its own")
	errTicketMany    = errors.New("too many tickets of the session were used at once")
	errTicketLost    = errors.New("ticket is older than the bucket that would tell whether it was used")
)

func isTicket(credential string) bool { return strings.HasPrefix(credential, ticketPrefix) }

// newTicket returns a ticket for a session. It is bound to nkey unless that is empty.
func (k sourceKeys) newTicket(session, nkey string, life time.Duration) (string, error) {
	now := time.Now()
	text, err := json.Marshal(ticket{ID: newSecret(), Session: session, Nkey: nkey, Expires: now.Add(life).UnixMilli(), Made: now.UnixMilli()})
	if err != nil {
		return "", err
	}
	value, err := k.seal(ticketName, text)
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(value), err
}

// made returns when a ticket was made in Unix milliseconds, or an earlier time if that is not
// known.
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

// redeem returns the key of a ticket's session. If two connections present the same ticket, one of
// them succeeds. That one may present it again, for its renewal.
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
