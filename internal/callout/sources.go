package callout

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/session"
	"stamp/internal/callout/session/anonymous"
	"stamp/internal/callout/session/http"
	"stamp/internal/callout/session/introspection"
	"stamp/internal/callout/session/kv"
	"stamp/internal/callout/session/login"
	"stamp/internal/callout/session/oidc"
	"stamp/internal/callout/session/redis"
	"stamp/internal/callout/session/signed"
	"stamp/internal/callout/session/users"
	"stamp/internal/conf"
)

// sourceKinds are the functions that read the blocks of session sources, by kind.
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

// source is a session source of the configuration with its block.
type source struct {
	session.Opener
	block conf.Node
}

// parseSources reads the list of session sources.
func parseSources(list conf.Node, faults *conf.Faults) []source {
	var out []source
	names := map[string]conf.Place{} // of the sources
	for _, n := range list.Items() {
		if n.Fields() == nil {
			faults.Add(n, "sessions: expected a list of session sources; found %s", n.Kind())
			continue
		}
		parse := sourceParser(n, faults)
		if parse == nil {
			continue
		}
		opener := parse(n, faults)
		if opener == nil {
			continue
		}
		name := opener.Common().Name
		if !isSourceName(name) {
			faults.Add(n.Get("name"), "session source: name: expected 1 to %d letters, digits, spaces and - _ . : @, with no space around them; found %q", maxSourceName, name)
		}
		// Names of sessions begin with the source's name and are compared in this form.
		folded := forwarded.FoldSession(name)
		if first, taken := names[folded]; taken {
			faults.Add(n, "session source: the name %q is taken by the source at %s; set name to another one, which differs not only in capitals", name, first)
		} else {
			names[folded] = n.Place()
		}
		out = append(out, source{opener, n})
	}
	return out
}

const maxSourceName = 64

// isSourceName reports whether a source's name can be a label of a metric and the first part of a
// session's name, which ends at the first "/".
func isSourceName(name string) bool {
	odd := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" -_.:@", r)
	}
	return name != "" && len(name) <= maxSourceName && strings.TrimSpace(name) == name && !strings.ContainsFunc(name, odd)
}

// sourceParser returns the function that reads the block of a source.
func sourceParser(n conf.Node, faults *conf.Faults) func(conf.Node, *conf.Faults) session.Opener {
	at := n.Get("kind")
	if at.IsZero() {
		faults.Add(n, "session source: field %q is missing; expected one of %s", "kind", strings.Join(knownKinds(), ", "))
		return nil
	}
	kind, ok := at.Plain().(string)
	if !ok {
		faults.Add(at, "session source: kind: expected a string; found %s", at.Kind())
		return nil
	}
	parse := sourceKinds[kind]
	if parse == nil {
		faults.Add(at, "session source: unknown kind %q; expected one of %s", kind, strings.Join(knownKinds(), ", "))
	}
	return parse
}
