package hook

import (
	"cmp"
	"errors"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Configured implements natsserver.ConfigParser. It checks the blocks headers and callout against
// the rest of the configuration. If the callout handler runs inside the server, it adds the
// auth_callout block, the account and the users that the handler needs.
func (parser) Configured(o *natsserver.Options) error {
	if err := configureHeaders(o); err != nil {
		return err
	}
	cfg := calloutConfig(o)
	switch {
	case cfg == nil:
		return nil
	case !cfg.Serves():
		printCalloutWarnings(o, cfg)
		return checkGuests(o, cfg)
	}
	return errors.Join(checkGuests(o, cfg), configureCallout(o, cfg))
}

// maxPayload returns the server's max_payload, in bytes.
func maxPayload(o *natsserver.Options) int {
	return cmp.Or(int(o.MaxPayload), natsserver.MAX_PAYLOAD_SIZE)
}

func isOperatorMode(o *natsserver.Options) bool {
	return len(o.TrustedOperators)+len(o.TrustedKeys) > 0
}

func findAccount(o *natsserver.Options, name string) *natsserver.Account {
	for _, a := range o.Accounts {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// isBuiltIn reports whether every server has an account of this name without configuration.
func isBuiltIn(name string) bool {
	return name == globalAccount || name == natsserver.DEFAULT_SYSTEM_ACCOUNT
}

// globalAccount is the account of users without an account.
const globalAccount = "$G"
