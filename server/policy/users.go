package policy

import (
	"cmp"
	"errors"
	"fmt"

	"stamp.example/claim"
	"stamp.example/claim/field"
	"stamp/server/conf"
)

// User is a user in the configuration.
type User struct {
	Name    string
	Account string
	System  bool
	// MaxPayload is the limit of its account for the length of a message in bytes, or 0 for none.
	MaxPayload int
	Claim      *claim.Claim // its headers and header_permissions, or nil
}

// Stamped reports whether the user has headers of its own.
func (u User) Stamped() bool { return u.Claim != nil && len(u.Claim.Headers) > 0 }

// couldNotConnect begins the text of a fault. A user without a name stands for everybody,
// on a server without users.
func (u User) couldNotConnect() string {
	if u.Name == "" {
		return "nobody could connect"
	}
	return fmt.Sprintf("user %q could not connect", u.Name)
}

// CheckUsers returns an error if a user of the configuration could never connect.
// maxPayload is the server's max_payload in bytes. The error names each such user,
// the header, and the place in the headers block that prevents the connection. r may
// be nil.
func (r *Rules) CheckUsers(users []User, maxPayload int) error {
	var faults conf.Faults
	var errs []error
	for _, u := range users {
		limit := maxPayload
		if u.MaxPayload > 0 {
			limit = min(limit, u.MaxPayload)
		}
		err := r.checkUser(u, limit)
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

// checkUser returns why a user could never connect, or nil. It tries a connection
// with what the configuration says about the user. Everything else has the shortest
// possible value; a client certificate is tried both absent and present.
func (r *Rules) checkUser(u User, maxPayload int) error {
	c := Conn{System: u.System, Account: u.Account, User: u.Claim, Vars: Vars{
		Name: u.Name, Subject: u.Name, AccountName: u.Account, AccountSubject: u.Account,
		ClientIP: "::1", ClientID: "1", ConnectionType: "nats", ServerName: "s", ServerID: "s",
	}}
	g, err := r.GrantFor(c)
	if errors.Is(err, ErrTemplateEmpty) {
		c.Vars.TLSSubject = "CN=c"
		g, err = r.GrantFor(c)
	}
	if err == nil && g.Stamp != nil && g.Stamp.Adds() && g.Stamp.MaxLen() >= maxPayload {
		return errNoRoom{g.Stamp.MaxLen(), maxPayload}
	}
	return err
}

// placeOf returns the place of the setting in the headers block that caused err, or
// an unknown place.
func (r *Rules) placeOf(err error) conf.Place {
	var fault *claim.Error
	switch {
	case r == nil:
	case errors.As(err, &errNoRoom{}):
		return r.places.block
	case errors.Is(err, ErrSetByServer) && errors.As(err, &fault):
		return r.places.all[field.Fold(fault.Header)]
	case errors.Is(err, claim.ErrTooManyHeaders):
		return cmp.Or(r.places.maxHeaders, r.places.block)
	case errors.Is(err, claim.ErrTooManyBytes), errors.Is(err, claim.ErrBlockTooLarge):
		return cmp.Or(r.places.maxBytes, r.places.block)
	}
	return conf.Place{}
}
