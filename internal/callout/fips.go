package callout

import (
	"crypto/fips140"
	"errors"
)

var errFIPS = errors.New("a callout handler cannot be used in FIPS-140 mode: auth callouts need X25519, and nats-server refuses auth_callout in that mode too")

// CheckFIPS returns an error in FIPS-140 mode (GODEBUG=fips140=on or only). It must be called
// before a curve key is made or read: with fips140=only, that panics.
func CheckFIPS() error {
	if fips140.Enabled() {
		return errFIPS
	}
	return nil
}
