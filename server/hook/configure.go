package hook

import (
	"cmp"
	"errors"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Configured implements natsserver.ConfigParser: a server whose handler is inside gets the auth
// callout, the account and the users that it needs.
func (parser) Configured(o *natsserver.Options) error {
	if err := configureHeaders(o); err != nil {
		return err
	}
	cfg := calloutConfig(o)
	switch {
	case cfg == nil:
		return nil
	case !cfg.Serves():
		return checkGuests(o, cfg)
	}
	return errors.Join(checkGuests(o, cfg), configureCallout(o, cfg))
}

// maxPayload is that of the server, in bytes.
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

// isBuiltIn tells whether the server itself has an account of that name.
func isBuiltIn(name string) bool {
	return name == globalAccount || name == natsserver.DEFAULT_SYSTEM_ACCOUNT
}

const globalAccount = "$G"
