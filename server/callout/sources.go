package callout

import (
	"maps"
	"slices"

	"stamp/server/callout/session"
	"stamp/server/callout/session/anonymous"
	"stamp/server/callout/session/http"
	"stamp/server/callout/session/introspection"
	"stamp/server/callout/session/kv"
	"stamp/server/callout/session/login"
	"stamp/server/callout/session/oidc"
	"stamp/server/callout/session/redis"
	"stamp/server/callout/session/signed"
	"stamp/server/callout/session/users"
	"stamp/server/conf"
)

// sourceKinds are the kinds of session sources, and who reads their blocks.
var sourceKinds = map[string]func(conf.Node, *conf.Faults) session.Opener{
	"kv":            kv.Parse,
	"login":         login.Parse,
	"http":          http.Parse,
	"oidc":          oidc.Parse,
	"introspection": introspection.Parse,
	"redis":         redis.Parse,
	"users":         users.Parse,
	"nkey":          signed.Parse,
	"jwt":           signed.Parse,
	"anonymous":     anonymous.Parse,
}

func knownKinds() []string { return slices.Sorted(maps.Keys(sourceKinds)) }
