package grant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// Warnings returns a warning, with its place in the configuration, for each setting that
// is allowed but is probably a mistake.
func (g *Grants) Warnings() []string {
	var out []string
	for i, one := range g.list {
		last := i == len(g.list)-1
		one.warn(last, func(field, text string) {
			at := one.node.Get(field)
			if at.IsZero() {
				at = one.node.Get("account")
			}
			out = append(out, fmt.Sprintf("%s: grant %s: %s: %s", at.Place(), one.name, field, text))
		})
	}
	return out
}

// WarnSystem returns a warning, with its place, for each grant that can put users into the system
// account.
func (g *Grants) WarnSystem(system string) []string {
	var out []string
	for _, one := range g.list {
		at, names := one.node.Get("accounts"), one.accounts
		if one.account != nil && one.account.static() {
			at, names = one.node.Get("account"), one.account.fixed
		}
		if slices.Contains(names, system) {
			out = append(out, fmt.Sprintf("%s: grant %s: account: %q %s", at.Place(), one.name, system, warnSystem))
		}
	}
	return out
}

const (
	warnSystem     = "is the system account, whose users can close connections of all accounts, as far as publish permits; name another account unless these users are operators"
	warnAlways     = "this grant has no condition, so no connection can reach the grants after it"
	warnReplay     = "the JetStream API ($JS.API) replays stored messages, with their authors' headers, to subjects that the connection chooses; deny the API subjects that browsers do not need, or exclude browsers: set connection_types without WEBSOCKET"
	warnInbox      = "the connection may subscribe to everybody's _INBOX, where the answers for others arrive; allow _INBOX.{{ session.user }}.> and set the client's inbox prefix, or exclude browsers: set connection_types without WEBSOCKET"
	warnAccount    = "account is taken from the session, so whoever writes sessions chooses among the listed accounts"
	warnUnverified = "request.name, lang, mqtt_id and headers are chosen by the client, and nobody has verified them"
)

func (g *grant) warn(last bool, add func(field, text string)) {
	if g.when == nil && !last {
		add("when", warnAlways)
	}
	if g.account.any(func(u uses) bool { return u.session }) {
		add("account", warnAccount)
	}
	warned := map[string]bool{}
	g.templates(func(field string, t *template) {
		if field != "headers" && !warned[field] && t.any(func(u uses) bool { return u.unverified }) {
			warned[field] = true
			add(field, warnUnverified)
		}
	})
	if g.scoped || !g.mayBeBrowser() {
		return
	}
	if slices.ContainsFunc(replays, g.publish.reaches) {
		add("publish", warnReplay)
	}
	if slices.ContainsFunc(inboxes, g.subscribe.reaches) {
		add("subscribe", warnInbox)
	}
}

// replays are the JetStream requests with which a client has stored messages sent to a
// reply or deliver subject that it chooses. inboxes are subjects on which clients
// receive their answers by default. The names in both differ from the sample "x" that
// stands for expressions, so that a template of the connection's own name does not
// match.
var (
	replays = []string{
		"$JS.API.DIRECT.GET.>", "$JS.API.STREAM.MSG.GET.*", "$JS.API.CONSUMER.CREATE.>",
		"$JS.API.CONSUMER.DURABLE.CREATE.*.*", "$JS.API.CONSUMER.MSG.NEXT.*.*",
	}
	inboxes = []string{"_INBOX.other", "_INBOX.other.1"}
)

func (g *grant) mayBeBrowser() bool {
	return len(g.types) == 0 || slices.Contains(g.types, jwt.ConnectionTypeWebsocket)
}

// reaches reports whether the permission allows a subject that matches pattern, and does
// not deny all such subjects.
func (p *permission) reaches(pattern string) bool {
	allowed := slices.ContainsFunc(p.allow.list, func(t *template) bool { return overlaps(t.subject(), pattern) })
	return allowed && !slices.ContainsFunc(p.deny.list, func(t *template) bool { return covers(t.subject(), pattern) })
}

// subject returns the sample without the queue name.
func (t *template) subject() string {
	subject, _, _ := strings.Cut(t.sample(), " ")
	return subject
}

// overlaps reports whether a subject matches both patterns.
func overlaps(a, b string) bool { return compare(a, b, false) }

// covers reports whether each subject that matches b also matches a.
func covers(a, b string) bool { return compare(a, b, true) }

// compare is covers if all is set, and overlaps otherwise.
func compare(a, b string, all bool) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i, t := range as {
		switch {
		case i >= len(bs):
			return false
		case t == ">":
			return true
		case bs[i] == ">":
			return !all
		case t == "*", t == bs[i], !all && bs[i] == "*":
		default:
			return false
		}
	}
	return len(as) == len(bs)
}
