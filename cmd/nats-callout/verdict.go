package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
	"stamp/internal/callout"
	"stamp/internal/callout/grant"
)

// decided reports whether an error is an answer, so that asking again would not change it.
func decided(err error) bool {
	var refusal *grant.Refusal
	return errors.Is(err, callout.ErrUnknown) || errors.Is(err, callout.ErrKind) || errors.As(err, &refusal)
}

// granted is what try shows. It contains values of the session only as far as a grant made names
// and permissions of them, and of headers only the names.
type granted struct {
	Source      string           `json:"source"`
	Session     string           `json:"session,omitempty"` // key of the session, as logs show it
	Ends        *time.Time       `json:"ends,omitempty"`    // of the session
	Fields      []string         `json:"fields"`            // names of the session's fields
	Grant       string           `json:"grant"`
	Account     string           `json:"account"`
	User        string           `json:"user,omitempty"`
	Publish     rules            `json:"publish"`
	Subscribe   rules            `json:"subscribe"`
	Responses   *responses       `json:"response_permissions,omitempty"`
	Connections []string         `json:"connection_types,omitempty"`
	Networks    []string         `json:"networks,omitempty"`
	Limits      map[string]int64 `json:"limits,omitempty"`
	Tags        []string         `json:"tags,omitempty"`
	Expires     *time.Time       `json:"expires,omitempty"` // of the user JWT, and with it of the connection
	Headers     []stamped        `json:"headers,omitempty"`
	Protected   []string         `json:"may_publish_headers,omitempty"`
	Sealed      []string         `json:"may_receive_headers,omitempty"`
	now         time.Time
}

type rules struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

type responses struct {
	Max int           `json:"max"`
	TTL time.Duration `json:"ttl"` // nanoseconds
}

// stamped is a header without its values.
type stamped struct {
	Name     string   `json:"name"`
	Values   int      `json:"values"` // number of values
	Subjects []string `json:"subjects,omitempty"`
}

func describe(v *callout.Verdict, now time.Time) *granted {
	user := v.Grant.User
	o := &granted{
		Source: v.Session.Source, Session: v.Session.Key, Fields: slices.Sorted(maps.Keys(v.Session.Data)),
		Grant: v.Grant.Grant, Account: v.Grant.Account, User: user.Name,
		Publish: rules{user.Pub.Allow, user.Pub.Deny}, Subscribe: rules{user.Sub.Allow, user.Sub.Deny},
		Connections: user.AllowedConnectionTypes, Networks: user.Src, Tags: user.Tags, Limits: limits(user), now: now,
	}
	if end := v.Session.Expires; !end.IsZero() {
		o.Ends = &end
	}
	if user.Expires > 0 {
		end := time.Unix(user.Expires, 0)
		o.Expires = &end
	}
	if user.Resp != nil {
		o.Responses = &responses{user.Resp.MaxMsgs, user.Resp.Expires}
	}
	if c := v.Grant.Claim; c != nil {
		o.Headers, o.Protected, o.Sealed = headers(c), c.Publish, c.Subscribe
	}
	return o
}

func headers(c *claim.Claim) []stamped {
	var out []stamped
	for _, h := range c.Headers {
		out = append(out, stamped{h.Name, len(h.Values), h.Subjects})
	}
	return out
}

// limits returns the limits that are set.
func limits(user *jwt.UserClaims) map[string]int64 {
	out := map[string]int64{}
	for name, n := range map[string]int64{"subscriptions": user.Subs, "payload": user.Limits.Payload, "data": user.Limits.Data} {
		if n != jwt.NoLimit {
			out[name] = n
		}
	}
	return out
}

// String returns one line for each field.
func (o *granted) String() string {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-13s%s\n", name, text)
		}
	}
	line("source", o.Source)
	line("session", o.session())
	line("fields", names(o.Fields))
	line("grant", o.Grant)
	line("account", o.Account)
	line("user", o.User)
	line("publish", o.Publish.String())
	line("subscribe", o.Subscribe.String())
	if o.Responses != nil {
		line("responses", fmt.Sprintf("%d within %s", o.Responses.Max, o.Responses.TTL))
	}
	line("connections", names(o.Connections))
	line("networks", names(o.Networks))
	for _, name := range slices.Sorted(maps.Keys(o.Limits)) {
		line("limit", name+" "+strconv.FormatInt(o.Limits[name], 10))
	}
	line("tags", names(o.Tags))
	line("expires", o.until(o.Expires))
	for _, h := range o.Headers {
		line("header", h.String())
	}
	line("may publish", names(o.Protected))
	line("may receive", names(o.Sealed))
	return b.String()
}

func (o *granted) session() string {
	parts := []string{o.Session}
	if o.Session == "" {
		parts[0] = "without a key"
	}
	if o.Ends != nil {
		parts = append(parts, "ends "+o.until(o.Ends))
	}
	return strings.Join(parts, ", ")
}

func (o *granted) until(t *time.Time) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%s, in %s", t.UTC().Format(time.RFC3339), t.Sub(o.now).Round(time.Second))
}

// String describes the rules. If nothing is allowed by name and nothing is denied, everything is
// allowed.
func (r rules) String() string {
	allow := names(r.Allow)
	if len(r.Allow) == 0 {
		allow = "everything"
	}
	switch {
	case len(r.Deny) == 0:
		return allow
	case slices.Contains(r.Deny, ">"):
		return "nothing"
	}
	return allow + ", but not " + names(r.Deny)
}

func (h stamped) String() string {
	text := h.Name + ": ***"
	if h.Values > 1 {
		text += fmt.Sprintf(" (%d values)", h.Values)
	}
	if len(h.Subjects) > 0 {
		text += " on " + names(h.Subjects)
	}
	return text
}
