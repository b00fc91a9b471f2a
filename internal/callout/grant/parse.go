package grant

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp/internal/callout/forwarded"
	"stamp/internal/conf"
)

// fields are the fields of a grant in the configuration.
type fields struct {
	Name              string        `conf:"name"`             // in logs and errors; default: the number of the grant, from 1
	When              string        `conf:"when"`             // condition; default: the grant applies to all sessions
	Account           string        `conf:"account,required"` // template
	Accounts          []string      `conf:"accounts"`         // accounts that the template in Account may name
	User              string        `conf:"user"`             // template of the user name, which monitoring shows; default: none
	Scoped            bool          `conf:"scoped"`           // the scope of the signing key has the permissions; default: false
	Publish           conf.Node     `conf:"publish"`
	Subscribe         conf.Node     `conf:"subscribe"`
	Response          conf.Node     `conf:"response_permissions"`
	ConnectionTypes   []string      `conf:"connection_types"`
	Networks          []string      `conf:"networks"`
	Limits            limits        `conf:"limits"`
	Expires           time.Duration `conf:"expires"` // DefaultExpires
	Tags              []conf.Node   `conf:"tags"`
	Headers           conf.Node     `conf:"headers"`
	HeaderPermissions conf.Node     `conf:"header_permissions"`
}

// limits are the limits of a user; default: jwt.NoLimit.
type limits struct {
	Subscriptions int64 `conf:"subscriptions"`
	Payload       int64 `conf:"payload"` // bytes of one message
	Data          int64 `conf:"data"`    // bytes in total
}

// Parse reads the list of grants. If it adds faults, the result must not be used.
func Parse(n conf.Node, faults *conf.Faults) *Grants {
	g := &Grants{}
	names := map[string]bool{}
	for i, item := range n.Items() {
		if item.Fields() == nil {
			faults.Add(item, "grants: expected a list of blocks; found %s", item.Kind())
			continue
		}
		one := parseGrant(item, i+1, faults)
		if names[one.name] {
			faults.Add(item.Get("name"), "name: duplicate name %q; another grant has it", one.name)
		}
		names[one.name] = true
		g.list = append(g.list, one)
		g.request = g.request || one.uses(func(u uses) bool { return u.request })
	}
	if len(n.Items()) == 0 {
		faults.Add(n, "grants: expected at least one grant, because without one every connection would be refused; found an empty list")
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
	if checkName(g.name, false) != "" {
		faults.Add(n.Get("name"), "name: expected a printable text of at most %d bytes without {{", maxToken)
		g.name = fmt.Sprint(number)
	}
	checkDuration("expires", f.Expires, time.Second, n.Get("expires"), faults)
	g.parseTexts(&f, n, faults)
	g.networks = parseNetworks(f.Networks, n.Get("networks"), faults)
	if f.Scoped {
		refuseWithScoped(n, faults)
		return g
	}
	g.parsePermissions(&f, n, faults)
	g.types = parseTypes(f.ConnectionTypes, n.Get("connection_types"), faults)
	g.limits = f.Limits.parse(n.Get("limits"), faults)
	g.headers = parseHeaders(f.Headers, f.HeaderPermissions, faults)
	return g
}

// parseTexts reads the condition, the account, the user name and the tags. In a scoped
// grant, the user name and tags must be subject tokens, because the template of the
// scope may put them into subjects.
func (g *grant) parseTexts(f *fields, n conf.Node, faults *conf.Faults) {
	if at := n.Get("when"); isString(at) {
		e, err := compileCondition(f.When)
		if err != nil {
			faults.Add(at, "when: %v", err)
		}
		g.when = e
	}
	names := checkName
	if f.Scoped {
		names = func(v string, _ bool) string { return checkToken(v, false) }
	}
	g.account = parseNameTemplate("account", f.Account, n.Get("account"), checkToken, faults)
	if at := n.Get("user"); !at.IsZero() {
		g.user = parseNameTemplate("user", f.User, at, names, faults)
	}
	for _, item := range f.Tags {
		text, ok := item.Plain().(string)
		if !ok {
			faults.Add(item, "tags: expected a tag as a string; found %s", item.Kind())
			continue
		}
		t := parseNameTemplate("tags", text, item, names, faults)
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

// parseNameTemplate reads a template that gives a name. It returns nil if the template is
// not valid.
func parseNameTemplate(name, text string, at conf.Node, r rule, faults *conf.Faults) *template {
	t, err := parseTemplate(text, r)
	if err != nil {
		faults.Add(at, "%s: %v", name, err)
		return nil
	}
	if isString(at) {
		if reason := checkName(t.sample(), false); reason != "" {
			faults.Add(at, "%s %s", name, reason)
		}
	}
	refuseSecrets(name, t, at, faults)
	return t
}

// isString reports whether n is a string. Decode has reported another type already.
func isString(n conf.Node) bool {
	_, ok := n.Plain().(string)
	return ok
}

// refuseWithScoped adds a fault for each field that a scoped grant cannot have. The
// server refuses users of a scoped key that have permissions or limits of their own
// (jwt/v2, UserScope).
func refuseWithScoped(n conf.Node, faults *conf.Faults) {
	for _, name := range []string{
		"publish", "subscribe", "response_permissions", "connection_types", "limits", "headers", "header_permissions",
	} {
		if at := n.Get(name); !at.IsZero() {
			faults.Add(at, "%s: a scoped grant cannot have this field; set it in the scope of the signing key", name)
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

// Defaults of response_permissions, as in upstream (const.go,
// DEFAULT_ALLOW_RESPONSE_MAX_MSGS and DEFAULT_ALLOW_RESPONSE_EXPIRATION).
const (
	defaultResponseMax = 1
	defaultResponseTTL = 2 * time.Minute
)

func parseResponse(n conf.Node, faults *conf.Faults) *jwt.ResponsePermission {
	if n.IsZero() {
		return nil
	}
	block := struct {
		Max int           `conf:"max"` // answers to a request; -1: any number
		TTL time.Duration `conf:"ttl"` // time after the request in which answers are allowed
	}{defaultResponseMax, defaultResponseTTL}
	switch on, ok := n.Plain().(bool); {
	case ok && !on:
		return nil
	case !ok:
		n.Decode(&block, faults)
	}
	if block.Max == 0 || block.Max < -1 {
		faults.Add(n, "response_permissions: max: expected 1 or more, or -1 for any number; found %d", block.Max)
	}
	checkDuration("response_permissions: ttl", block.TTL, time.Millisecond, n.Get("ttl"), faults)
	return &jwt.ResponsePermission{MaxMsgs: block.Max, Expires: block.TTL}
}

// checkDuration adds a fault if d is shorter than least.
func checkDuration(name string, d, least time.Duration, n conf.Node, faults *conf.Faults) {
	if d < least {
		faults.Add(n, "%s: expected %s or more; found %s", name, least, d)
	}
}

// connectionTypes are the connection types of upstream (jwt/v2, user_claims.go).
var connectionTypes = []string{
	jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket, jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS,
	jwt.ConnectionTypeMqtt, jwt.ConnectionTypeMqttWS, jwt.ConnectionTypeInProcess,
}

func parseTypes(texts []string, n conf.Node, faults *conf.Faults) jwt.StringList {
	var out jwt.StringList
	for _, text := range texts {
		upper := strings.ToUpper(text)
		if !slices.Contains(connectionTypes, upper) {
			faults.Add(n, "connection_types: expected one of %s; found %q", strings.Join(connectionTypes, ", "), text)
		}
		out.Add(upper)
	}
	if len(texts) == 0 && !n.IsZero() {
		faults.Add(n, "connection_types: expected at least one type; found an empty list")
	}
	return out[:len(out):len(out)]
}

func (l limits) parse(n conf.Node, faults *conf.Faults) jwt.NatsLimits {
	for _, one := range []struct {
		name  string
		value int64
	}{{"subscriptions", l.Subscriptions}, {"payload", l.Payload}, {"data", l.Data}} {
		if one.value < 1 && one.value != jwt.NoLimit {
			faults.Add(n.Get(one.name), "limits: %s: expected 1 or more, or -1 for no limit; found %d", one.name, one.value)
		}
	}
	return jwt.NatsLimits{Subs: l.Subscriptions, Data: l.Data, Payload: l.Payload}
}

// templates calls each for every template of the grant, with the name of its field.
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

// uses reports whether the uses of any expression of the grant have a property.
func (g *grant) uses(has func(uses) bool) bool {
	found := g.when != nil && has(g.when.uses)
	g.templates(func(_ string, t *template) { found = found || t.any(has) })
	return found
}
