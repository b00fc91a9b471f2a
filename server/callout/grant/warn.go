package grant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// Warnings are what is allowed, but seldom meant, each with its place.
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

const (
	warnAlways  = "there is no condition, so the grants after it are never reached"
	warnReplay  = "the JetStream API ($JS.API) replays stored messages, with their authors' headers, to subjects that the connection chooses; deny the API subjects that browsers do not need, or exclude browsers: set connection_types without WEBSOCKET"
	warnInbox   = "the connection may subscribe to everybody's _INBOX, where the answers for others arrive; allow _INBOX.{{ session.user }}.> and set the client's inbox prefix, or exclude browsers: set connection_types without WEBSOCKET"
	warnAccount = "account is taken from a session: whoever writes sessions chooses among those that are listed"
	warnClaimed = "request.name, lang, mqtt_id and headers are what the client says of itself, and nobody has verified them"
)

func (g *grant) warn(last bool, add func(field, text string)) {
	if g.when == nil && !last {
		add("when", warnAlways)
	}
	if g.account.any(func(u uses) bool { return u.session }) {
		add("account", warnAccount)
	}
	claimed := map[string]bool{}
	g.templates(func(field string, t *template) {
		if field != "headers" && !claimed[field] && t.any(func(u uses) bool { return u.claimed }) {
			claimed[field] = true
			add(field, warnClaimed)
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

// replays are the JetStream requests whose answer is a stored message, on a reply or
// deliver subject that the requester chooses; inboxes are where clients get their
// answers unless told otherwise. Names in them are no template's sample.
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

// reaches tells whether the permission allows part of a pattern, and does not deny
// all of it.
func (p *permission) reaches(pattern string) bool {
	allowed := slices.ContainsFunc(p.allow.list, func(t *template) bool { return related(t.subject(), pattern, false) })
	return allowed && !slices.ContainsFunc(p.deny.list, func(t *template) bool { return related(t.subject(), pattern, true) })
}

// subject is the sample without a queue name.
func (t *template) subject() string {
	subject, _, _ := strings.Cut(t.sample(), " ")
	return subject
}

// related tells whether a subject is matched by both patterns; or, with all, whether
// each that b matches is matched by a.
func related(a, b string, all bool) bool {
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
