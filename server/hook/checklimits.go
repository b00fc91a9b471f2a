package hook

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout"
)

// The callout handler inside the server has connections of its own. The limits of the server and
// of accounts apply to them as to any other connection. Limits with which no callout could succeed
// are refused, because no client that needs a callout could connect.

const (
	// minPayload, in bytes, is a bit more than the smallest answer to a callout, which contains
	// a user JWT.
	minPayload = 2048
	// A connection of the handler needs minSubscriptions, and subscriptionsPerSource for each
	// session source that uses it. During a reload two handlers share the connection, so these
	// are twice what one handler needs.
	minSubscriptions       = 8
	subscriptionsPerSource = 4
)

// checkLimits refuses limits with which the handler's own connections would not work.
func checkLimits(o *natsserver.Options, cfg *callout.Config) error {
	var errs []error
	checkPayload := func(what string, limit int) {
		if limit >= 0 && limit < minPayload {
			errs = append(errs, fmt.Errorf("callout: %s: expected at least %d for the answer to a callout; found %d", what, minPayload, limit))
		}
	}
	checkPayload("max_payload", maxPayload(o))
	mostNeeded := 0
	sources := cfg.SourcesIn()
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		needed := minSubscriptions + subscriptionsPerSource*sources[name]
		mostNeeded = max(mostNeeded, needed)
		account := findAccount(o, name)
		if account == nil {
			continue
		}
		subscriptions, payload := account.ConfiguredLimits()
		if name == cfg.Account {
			checkPayload(fmt.Sprintf("account %q: max_payload", name), int(payload))
		}
		if account.MaxActiveConnections() == 0 {
			errs = append(errs, fmt.Errorf("callout: account %q has max_connections: 0, but the handler needs a connection there\nhint: set it to at least 1", name))
		}
		if subscriptions >= 0 && int(subscriptions) < needed {
			errs = append(errs, fmt.Errorf("callout: account %q: max_subscriptions: expected at least %d for the connection of the handler there; found %d", name, needed, subscriptions))
		}
	}
	if o.MaxSubs > 0 && o.MaxSubs < mostNeeded {
		errs = append(errs, fmt.Errorf("callout: max_subscriptions: expected at least %d for a connection of the handler; found %d", mostNeeded, o.MaxSubs))
	}
	return errors.Join(errs...)
}
