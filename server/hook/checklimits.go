package hook

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout"
)

// The handler inside has connections of its own, to which the limits of the server and of accounts apply as to any other.
// Limits with which no callout could succeed are refused, since nobody would get in who needs one.

const (
	// minPayload is more than the answer to a callout has at least, in bytes: a user JWT in a response.
	minPayload = 2048
	// minSubscriptions and subscriptionsOfSource are what a connection of the handler needs, twice that while a reload
	// puts one handler in the place of another.
	minSubscriptions      = 8
	subscriptionsOfSource = 4
)

// checkLimits adds the limits that the handler's own connections would not work with.
func checkLimits(o *natsserver.Options, cfg *callout.Config) error {
	var errs []error
	payload := func(what string, limit int) {
		if limit >= 0 && limit < minPayload {
			errs = append(errs, fmt.Errorf("callout: %s: %d is too small for the answer to any callout\nhint: at least %d", what, limit, minPayload))
		}
	}
	payload("max_payload", maxPayload(o))
	most := 0
	sources := cfg.SourcesIn()
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		needed := minSubscriptions + subscriptionsOfSource*sources[name]
		most = max(most, needed)
		account := findAccount(o, name)
		if account == nil {
			continue
		}
		subscriptions, size := account.ConfiguredLimits()
		if name == cfg.Account {
			payload(fmt.Sprintf("account %q has max_payload", name), int(size))
		}
		if account.MaxActiveConnections() == 0 {
			errs = append(errs, fmt.Errorf("callout: account %q has max_connections: 0, and the handler has a connection there\nhint: at least 1", name))
		}
		if subscriptions >= 0 && int(subscriptions) < needed {
			errs = append(errs, fmt.Errorf("callout: account %q has max_subscriptions: %d, and the connection of the handler there needs more\nhint: at least %d", name, subscriptions, needed))
		}
	}
	if o.MaxSubs > 0 && o.MaxSubs < most {
		errs = append(errs, fmt.Errorf("callout: max_subscriptions: %d, and a connection of the handler needs more\nhint: at least %d", o.MaxSubs, most))
	}
	return errors.Join(errs...)
}
