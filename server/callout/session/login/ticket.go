package login

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/callout/session"
)

// A ticket is a secret that one connection can be made with, in place of the cookie: a page asks
// for it with its cookie and gives it to whoever connects, as the token of CONNECT.

const ticketPrefix = "ticket_"

// ticket is what is kept of one. Conn is the connection that has used it, which may use it again
// to be renewed. Nkey is the key that has to sign the server's nonce; empty: none.
type ticket struct {
	Session string `json:"session"` // key
	Expires int64  `json:"expires"` // Unix milliseconds
	Conn    string `json:"conn,omitempty"`
	Nkey    string `json:"nkey,omitempty"`
}

// Errors of tickets.
var (
	errTicketUnknown = errors.New("ticket is unknown")
	errTicketUsed    = errors.New("ticket was used already, by another connection: a replay")
	errTicketExpired = errors.New("ticket has expired")
	errTicketKey     = errors.New("ticket is for another key, or the server's nonce is not signed with its own")
)

func isTicket(credential string) bool { return strings.HasPrefix(credential, ticketPrefix) }

// issue makes a ticket for a session, and for a key unless that is empty.
func (s *store) issue(ctx context.Context, session, nkey string, life time.Duration) (string, error) {
	secret := ticketPrefix + newSecret()
	name := "ticket." + hashed(secret)
	sealed, err := s.encodeTicket(name, ticket{Session: session, Nkey: nkey, Expires: time.Now().Add(life).UnixMilli()})
	if err != nil {
		return "", err
	}
	_, err = s.index.Create(ctx, name, sealed)
	return secret, plain(err)
}

func (s *store) encodeTicket(name string, t ticket) ([]byte, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return s.keys.seal(name, text)
}

// redeem returns the key of a ticket's session. Of two connections that come with it, one wins.
func (s *store) redeem(ctx context.Context, c *session.Credential, conn string) (session string, err error) {
	name := "ticket." + hashed(c.Value)
	for {
		found, err := s.index.Get(ctx, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return "", errTicketUnknown
		}
		if err != nil {
			return "", plain(err)
		}
		text, err := s.keys.open(name, found.Value())
		if err != nil {
			return "", err
		}
		var t ticket
		if json.Unmarshal(text, &t) != nil {
			return "", errSealed
		}
		switch {
		case t.Nkey != "" && (c.Nkey != t.Nkey || !c.Signed()):
			return "", errTicketKey
		case t.Conn == conn:
			return t.Session, nil
		case t.Conn != "":
			return "", errTicketUsed
		case time.Now().UnixMilli() >= t.Expires:
			return "", errTicketExpired
		}
		t.Conn = conn
		sealed, err := s.encodeTicket(name, t)
		if err != nil {
			return "", err
		}
		_, err = s.index.Update(ctx, name, sealed, found.Revision())
		if err == nil {
			return t.Session, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) { // what a wrong revision is
			return "", plain(err)
		}
	}
}
