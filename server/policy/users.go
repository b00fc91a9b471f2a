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

// CheckUsers tells which users of the configuration could never connect: the error names the user and the header,
// and the place in the headers block that is in the way. r may be nil.
func (r *Rules) CheckUsers(users []User) error {
	var faults conf.Faults
	var errs []error
	for _, u := range users {
		err := r.checkUser(u)
		if err == nil {
			continue
		}
		place := r.placeOf(err)
		if place == (conf.Place{}) {
			errs = append(errs, fmt.Errorf("user %q could not connect: %w", u.Name, err))
			continue
		}
		faults.AddAt(place, "user %q could not connect: %v", u.Name, err)
	}
	return errors.Join(append(errs, faults.Err())...)
}

// checkUser is For on a connection of which only what the configuration says is known, and of the rest what adds
// least. A certificate may be there or not.
func (r *Rules) checkUser(u User) error {
	c := Conn{System: u.System, Account: u.Account, User: u.Claim, Vars: Vars{
		Name: u.Name, Subject: u.Name, AccountName: u.Account, AccountSubject: u.Account,
		ClientIP: "::1", ClientID: "1", ConnectionType: "nats", ServerName: "s", ServerID: "s",
	}}
	_, err := r.For(c)
	if errors.Is(err, ErrTemplateEmpty) {
		c.Vars.TLSSubject = "CN=c"
		_, err = r.For(c)
	}
	return err
}

// placeOf is the place of what is in the way, as far as it is in the headers block.
func (r *Rules) placeOf(err error) conf.Place {
	var of *claim.Error
	switch {
	case r == nil:
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
