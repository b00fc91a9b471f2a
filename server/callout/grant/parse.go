package grant

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp/server/callout/forwarded"
	"stamp/server/conf"
)

// fields is a grant as it is written.
type fields struct {
	Name              string        `conf:"name"`             // in logs and errors; default: its number, from 1
	When              string        `conf:"when"`             // condition; default: always
	Account           string        `conf:"account,required"` // template
	Accounts          []string      `conf:"accounts"`         // that the template may name
	User              string        `conf:"user"`             // template of the name in monitoring
	Scoped            bool          `conf:"scoped"`           // the signing key's scope says what is allowed
	Publish           conf.Node     `conf:"publish"`
	Subscribe         conf.Node     `conf:"subscribe"`
	Response          conf.Node     `conf:"response_permissions"`
	ConnectionTypes   []string      `conf:"connection_types"`
	Networks          []string      `conf:"networks"`
	Limits            limits        `conf:"limits"`
	Expires           time.Duration `conf:"expires"`
	Tags              []conf.Node   `conf:"tags"`
	Headers           conf.Node     `conf:"headers"`
	HeaderPermissions conf.Node     `conf:"header_permissions"`
}

type limits struct {
	Subscriptions int64 `conf:"subscriptions"`
	Payload       int64 `conf:"payload"` // bytes of one message
	Data          int64 `conf:"data"`    // bytes in all
}

// Parse reads the array of grants. Nothing of it is to be used when there are
// faults.
func Parse(n conf.Node, faults *conf.Faults) *Grants {
	g := &Grants{}
	names := map[string]bool{}
	for i, item := range n.Items() {
		one := parseGrant(item, i+1, faults)
		if names[one.name] {
			faults.Add(item.Get("name"), "two grants have the name %q", one.name)
		}
		names[one.name] = true
		g.list = append(g.list, one)
		g.request = g.request || one.uses(func(u uses) bool { return u.request })
	}
	if len(g.list) == 0 {
		faults.Add(n, "grants is empty: every connection would be refused")
	}
	return g
}

func parseGrant(n conf.Node, number int, faults *conf.Faults) *grant {
	f := fields{
		Name: fmt.Sprint(number), Expires: DefaultExpires,
		Limits: limits{jwt.NoLimit, jwt.NoLimit, jwt.NoLimit},
	}
	n.Decode(&f, faults)
	g := &grant{name: f.Name, scoped: f.Scoped, expires: f.Expires, accounts: f.Accounts, node: n}
	if isName(g.name, false) != "" {
		faults.Add(n.Get("name"), "name must be a short printable text, and no template")
		g.name = fmt.Sprint(number)
	}
	checkDuration("expires", f.Expires, time.Second, n.Get("expires"), faults)
	g.parseTexts(&f, n, faults)
	g.networks = parseNetworks(f.Networks, n.Get("networks"), faults)
	if f.Scoped {
		onlyScoped(n, faults)
		return g
	}
	g.parsePermissions(&f, n, faults)
	g.types = parseTypes(f.ConnectionTypes, n.Get("connection_types"), faults)
	g.limits = f.Limits.parse(n.Get("limits"), faults)
	g.headers = parseHeaders(f.Headers, f.HeaderPermissions, faults)
	return g
}

// parseTexts reads the condition, and what names the user. With a scoped key, the
// user's name and tags may become tokens of subjects.
func (g *grant) parseTexts(f *fields, n conf.Node, faults *conf.Faults) {
	if at := n.Get("when"); !at.IsZero() {
		e, err := condition(f.When)
		if err != nil {
			faults.Add(at, "when: %v", err)
		}
		g.when = e
	}
	names := isName
	if f.Scoped {
		names = func(v string, _ bool) string { return isToken(v, false) }
	}
	g.account = parseText("account", f.Account, n.Get("account"), isToken, faults)
	if at := n.Get("user"); !at.IsZero() {
		g.user = parseText("user", f.User, at, names, faults)
	}
	for _, item := range f.Tags {
		text, ok := item.Plain().(string)
		if !ok {
			faults.Add(item, "tags: a tag must be a string")
			continue
		}
		t := parseText("tags", text, item, names, faults)
		if t != nil && forwarded.IsReserved(t.sample()) {
			faults.Add(item, "tags: %q %s", text, reservedTag)
		}
		if t != nil && t.static() {
			g.tagsStatic.Add(text)
		} else if t != nil {
			g.tags = append(g.tags, t)
		}
	}
	g.tagsStatic = g.tagsStatic[:len(g.tagsStatic):len(g.tagsStatic)]
}

// parseText reads a template that is a name. It returns nil when there are
// faults.
func parseText(name, text string, at conf.Node, r rule, faults *conf.Faults) *template {
	t, err := parseTemplate(text, r)
	if err != nil {
		faults.Add(at, "%s: %v", name, err)
		return nil
	}
	if _, ok := at.Plain().(string); ok { // else it is reported already
		if reason := isName(t.sample(), false); reason != "" {
			faults.Add(at, "%s %s", name, reason)
		}
	}
	noSecret(name, t, at, faults)
	return t
}

// onlyScoped reports fields that a scope leaves no room for (jwt/v2, UserScope:
// a user's own permissions and limits are refused).
func onlyScoped(n conf.Node, faults *conf.Faults) {
	for _, name := range []string{
		"publish", "subscribe", "response_permissions", "connection_types", "limits", "headers", "header_permissions",
	} {
		if at := n.Get(name); !at.IsZero() {
			faults.Add(at, "%s: in a scoped grant the scope of the signing key says this", name)
		}
	}
}

func (g *grant) parsePermissions(f *fields, n conf.Node, faults *conf.Faults) {
	for _, one := range []struct {
		name string
		node conf.Node
		to   *permission
	}{{"publish", f.Publish, &g.publish}, {"subscribe", f.Subscribe, &g.subscribe}} {
		if one.node.IsZero() {
			faults.Add(n, `field %q is missing; write %s: [] for nothing, %s: ">" for everything`, one.name, one.name, one.name)
			continue
		}
		*one.to = parsePermission(one.name, one.node, one.name == "subscribe", faults)
	}
	g.response = parseResponse(f.Response, faults)
}

// Answers that response_permissions: true allows: upstream's own (const.go,
// DEFAULT_ALLOW_RESPONSE_MAX_MSGS and DEFAULT_ALLOW_RESPONSE_EXPIRATION).
const (
	responseMax = 1
	responseTTL = 2 * time.Minute
)

func parseResponse(n conf.Node, faults *conf.Faults) *jwt.ResponsePermission {
	if n.IsZero() {
		return nil
	}
	block := struct {
		Max int           `conf:"max"` // messages for a request; -1: any number
		TTL time.Duration `conf:"ttl"` // after the request
	}{responseMax, responseTTL}
	switch on, ok := n.Plain().(bool); {
	case ok && !on:
		return nil
	case !ok:
		n.Decode(&block, faults)
	}
	if block.Max == 0 || block.Max < -1 {
		faults.Add(n, "response_permissions: max must be 1 or more, or -1 for any number")
	}
	checkDuration("response_permissions: ttl", block.TTL, time.Millisecond, n.Get("ttl"), faults)
	return &jwt.ResponsePermission{MaxMsgs: block.Max, Expires: block.TTL}
}

// checkDuration refuses a duration that is too short.
func checkDuration(name string, d, least time.Duration, n conf.Node, faults *conf.Faults) {
	if d < least {
		faults.Add(n, "%s must be %s or more", name, least)
	}
}

// connectionTypes are upstream's (jwt/v2, user_claims.go).
var connectionTypes = []string{
	jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket, jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS,
	jwt.ConnectionTypeMqtt, jwt.ConnectionTypeMqttWS, jwt.ConnectionTypeInProcess,
}

func parseTypes(texts []string, n conf.Node, faults *conf.Faults) jwt.StringList {
	var out jwt.StringList
	for _, text := range texts {
		upper := strings.ToUpper(text)
		if !slices.Contains(connectionTypes, upper) {
			faults.Add(n, "connection_types: %q is none of %s", text, strings.Join(connectionTypes, ", "))
		}
		out.Add(upper)
	}
	if len(texts) == 0 && !n.IsZero() {
		faults.Add(n, "connection_types: the list is empty")
	}
	return out[:len(out):len(out)]
}

func (l limits) parse(n conf.Node, faults *conf.Faults) jwt.NatsLimits {
	for _, one := range []struct {
		name  string
		value int64
	}{{"subscriptions", l.Subscriptions}, {"payload", l.Payload}, {"data", l.Data}} {
		if one.value < 1 && one.value != jwt.NoLimit {
			faults.Add(n.Get(one.name), "limits: %s must be 1 or more, or -1 for no limit", one.name)
		}
	}
	return jwt.NatsLimits{Subs: l.Subscriptions, Data: l.Data, Payload: l.Payload}
}

// templates calls each for the templates of a grant, with the name of their field.
func (g *grant) templates(each func(field string, t *template)) {
	call := func(field string, list ...*template) {
		for _, t := range list {
			if t != nil {
				each(field, t)
			}
		}
	}
	call("account", g.account)
	call("user", g.user)
	call("tags", g.tags...)
	call("publish", g.publish.allow.list...)
	call("publish", g.publish.deny.list...)
	call("subscribe", g.subscribe.allow.list...)
	call("subscribe", g.subscribe.deny.list...)
	for _, h := range g.headers.list {
		call("headers", h.values...)
		call("headers", h.subjects.list...)
	}
}

// uses tells whether an expression of the grant has a property.
func (g *grant) uses(has func(uses) bool) bool {
	found := g.when != nil && has(g.when.uses)
	g.templates(func(_ string, t *template) { found = found || t.any(has) })
	return found
}
