package policy

import (
	"errors"
	"fmt"

	"stamp/server/claim"
	"stamp/server/conf"
	"stamp/server/field"
)

// User is a user of the configuration.
type User struct {
	Name    string
	Account string
	System  bool
	Claim   *claim.Claim // or nil
}

// Stamped tells whether the user has headers of its own.
func (u User) Stamped() bool { return u.Claim != nil && len(u.Claim.Headers) > 0 }

// String names the user in an error. A server without users has one without a name, who is everybody.
func (u User) String() string {
	if u.Name == "" {
		return "nobody could connect"
	}
	return fmt.Sprintf("user %q could not connect", u.Name)
}

// CheckUsers tells which users of the configuration could never connect to a server that takes messages of
// maxPayload bytes: the error names the user and the header, and the place in the headers block that is in the
// way. r may be nil.
func (r *Rules) CheckUsers(users []User, maxPayload int) error {
	var faults conf.Faults
	var errs []error
	for _, u := range users {
		err := r.checkUser(u, maxPayload)
		if err == nil {
			continue
		}
		place := r.placeOf(err)
		if place == (conf.Place{}) {
			errs = append(errs, fmt.Errorf("%v: %w", u, err))
			continue
		}
		faults.AddAt(place, "%v: %v", u, err)
	}
	return errors.Join(append(errs, faults.Err())...)
}

// errNoRoom is the server's own refusal of such a connection (upstream, interceptor.go, replaceRewriter).
type errNoRoom struct{ growth, maxPayload int }

func (e errNoRoom) Error() string {
	return fmt.Sprintf("headers of up to %d bytes leave no room in a max_payload of %d bytes; raise max_payload or shorten the headers", e.growth, e.maxPayload)
}

// checkUser is For on a connection of which only what the configuration says is known, and of the rest what adds
// least. A certificate may be there or not.
func (r *Rules) checkUser(u User, maxPayload int) error {
	c := Conn{System: u.System, Account: u.Account, User: u.Claim, Vars: Vars{
		Name: u.Name, Subject: u.Name, AccountName: u.Account, AccountSubject: u.Account,
		ClientIP: "::1", ClientID: "1", ConnectionType: "nats", ServerName: "s", ServerID: "s",
	}}
	g, err := r.For(c)
	if errors.Is(err, ErrTemplateEmpty) {
		c.Vars.TLSSubject = "CN=c"
		g, err = r.For(c)
	}
	if err == nil && g.Stamp != nil && g.Stamp.Adds() && g.Stamp.MaxLen() >= maxPayload {
		return errNoRoom{g.Stamp.MaxLen(), maxPayload}
	}
	return err
}

// placeOf is the place of what is in the way, as far as it is in the headers block.
func (r *Rules) placeOf(err error) conf.Place {
	var of *claim.Error
	switch {
	case r == nil:
	case errors.As(err, &errNoRoom{}):
		return r.places.block
	case errors.Is(err, ErrSetByServer) && errors.As(err, &of):
		return r.places.all[field.Fold(of.Header)]
	case errors.Is(err, claim.ErrTooManyHeaders):
		return orElse(r.places.maxHeaders, r.places.block)
	case errors.Is(err, claim.ErrTooManyBytes):
		return orElse(r.places.maxBytes, r.places.block)
	}
	return conf.Place{}
}

func orElse(a, b conf.Place) conf.Place {
	if a == (conf.Place{}) {
		return b
	}
	return a
}
