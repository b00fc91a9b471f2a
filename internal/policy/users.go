package policy

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"stamp.example/claim"
	"stamp.example/claim/field"
	"stamp/internal/conf"
	"stamp/internal/proof"
)

// Server is what the configuration says about the server that a user connects to.
type Server struct {
	Name       string // empty: its id takes the place of the name
	MaxPayload int    // limit for the length of a message in bytes; below 0: none
}

// User is a user in the configuration.
type User struct {
	Name    string // empty: the user stands for everybody, on a server or in an account without users
	Account string
	System  bool
	// MaxPayload is the limit of its account for the length of a message in bytes; nil: none.
	MaxPayload     *int
	Leafnode       bool         // only leafnode connections can log in as this user
	ConnectionType string       // the shortest that it can have; empty: "nats"
	Certificate    bool         // it can connect with a client certificate that the server verifies
	Claim          *claim.Claim // its headers and header_permissions, or nil
}

// Stamped reports whether the user has headers of its own.
func (u User) Stamped() bool { return u.Claim != nil && len(u.Claim.Headers) > 0 }

// couldNotConnect begins the text of a fault.
func (u User) couldNotConnect() string {
	switch {
	case u.Name != "":
		return fmt.Sprintf("user %q could not connect", u.Name)
	case u.Account != "$G": // the account of users without an account
		return fmt.Sprintf("nobody could connect to account %q", u.Account)
	}
	return "nobody could connect"
}

// CheckUsers returns an error if a user of the configuration could never connect to s.
// The error names each such user, the header, and the place in the headers block that
// prevents the connection. r may be nil.
func (r *Rules) CheckUsers(users []User, s Server) error {
	var faults conf.Faults
	var errs []error
	for _, u := range users {
		err := r.checkUser(u, s)
		if err == nil {
			continue
		}
		place := r.placeOf(err)
		if place == (conf.Place{}) {
			errs = append(errs, fmt.Errorf("%s: %w", u.couldNotConnect(), err))
			continue
		}
		faults.AddAt(place, "%s: %v", u.couldNotConnect(), err)
	}
	return errors.Join(append(errs, faults.Err())...)
}

// errNoRoom is the fault of a connection whose headers leave no room for a payload.
// The server refuses it too (upstream, interceptor.go, replaceRewriter).
type errNoRoom struct{ growth, maxPayload int }

func (e errNoRoom) Error() string {
	return fmt.Sprintf("headers of up to %d bytes leave no room in a max_payload of %d bytes; raise max_payload or shorten the headers", e.growth, e.maxPayload)
}

// anyServerID has the length of a server's id, which is a public key. The id is made at
// each start.
var anyServerID = "N" + strings.Repeat("A", 55)

// checkUser returns why a user could never connect, or nil. It tries a connection
// with what the configuration says about the user and the server. Everything else has
// the shortest possible value; a client certificate is tried both absent and, where the
// user can have one, present.
func (r *Rules) checkUser(u User, s Server) error {
	c := Conn{System: u.System, Leafnode: u.Leafnode, Account: u.Account, User: u.Claim, Vars: Vars{
		Name: u.Name, Subject: u.Name, AccountName: u.Account, AccountSubject: u.Account,
		ClientIP: "::1", ClientID: "1", ConnectionType: cmp.Or(u.ConnectionType, "nats"),
		ServerName: cmp.Or(s.Name, anyServerID), ServerID: anyServerID,
	}}
	g, err := r.GrantFor(c)
	if errors.Is(err, ErrTemplateEmpty) {
		c.Vars.TLSSubject = "CN=c"
		with, errWith := r.GrantFor(c)
		switch {
		case u.Certificate:
			g, err = with, errWith
		case !errors.Is(errWith, ErrTemplateEmpty):
			err = fmt.Errorf("%w\nhint: the server verifies no client certificate of this user; set verify in the tls block of the listener", err)
		}
	}
	if err != nil || g.Stamp == nil || !g.Stamp.Adds() {
		return err
	}
	for _, limit := range []*int{&s.MaxPayload, u.MaxPayload} {
		if limit != nil && *limit >= 0 && g.Stamp.MaxLen() >= *limit {
			return errNoRoom{g.Stamp.MaxLen(), *limit}
		}
	}
	return nil
}

// placeOf returns the place of the setting in the headers block that caused err, or
// an unknown place.
func (r *Rules) placeOf(err error) conf.Place {
	var fault *claim.Error
	switch {
	case r == nil:
	case errors.As(err, &errNoRoom{}):
		return r.places.block
	case errors.Is(err, ErrNotEncrypted), errors.Is(err, proof.ErrSameEntry), errors.Is(err, proof.ErrTooManyNames):
		return r.Proof.place
	case errors.As(err, &fault) && r.allHas(fault.Header):
		return r.places.all[field.Fold(fault.Header)]
	case errors.Is(err, claim.ErrTooManyHeaders):
		return cmp.Or(r.places.maxHeaders, r.places.block)
	case errors.Is(err, claim.ErrTooManyBytes), errors.Is(err, claim.ErrBlockTooLarge):
		return cmp.Or(r.places.maxBytes, r.places.block)
	}
	return conf.Place{}
}
