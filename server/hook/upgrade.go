package hook

import (
	"net/http"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/forwarded"
	"stamp/internal/policy"
)

// upgrade is the part of a websocket's upgrade request that is kept as long as the
// connection lives.
type upgrade struct {
	forwarded       forwarded.Request // what the callout handler gets
	hasCalloutBlock bool              // in the server's configuration
	forwardedFor    string            // the end of X-Forwarded-For, or empty
}

var _ natsserver.ConnRecord = (*upgrade)(nil)

// noUpgrade is the record of a connection that is no websocket.
var noUpgrade = &upgrade{}

// Upgrade implements natsserver.Extension.
func (h *Hook) Upgrade(o *natsserver.Options, r *http.Request) natsserver.ConnRecord {
	if r == nil {
		return noUpgrade
	}
	u := &upgrade{forwardedFor: policy.JoinForwardedFor(r.Header.Values("X-Forwarded-For"))}
	if cfg := calloutConfig(o); cfg != nil {
		u.forwarded, u.hasCalloutBlock = cfg.Request.Pick(r), true
		if isMQTT(r) {
			// Upstream copies the cookie into CONNECT for the NATS protocol only.
			u.forwarded.AddTokenCookie(r, o.Websocket.TokenCookie)
		}
	}
	u.forwarded.Websocket = true
	return u
}

// isMQTT reports whether the websocket will carry MQTT (upstream, websocket.go, wsUpgrade).
func isMQTT(r *http.Request) bool {
	return r.URL != nil && strings.HasSuffix(r.URL.EscapedPath(), "/mqtt")
}

// RefusesDuplicates implements natsserver.ConnRecord.
func (u *upgrade) RefusesDuplicates() bool { return u.hasCalloutBlock }

// Duplicate implements natsserver.ConnRecord.
func (u *upgrade) Duplicate(r *http.Request, cookie string) bool {
	return forwarded.HasDuplicateCookie(r, cookie)
}

// CalloutTags implements natsserver.ConnRecord. Every handler learns that a callout is a
// renewal. Without a callout block, a handler learns nothing else.
func (u *upgrade) CalloutTags(o *natsserver.Options, fromCookie, renewal bool) (tags []string, ours bool) {
	ours = calloutConfig(o) != nil
	if !ours && !renewal {
		return nil, false
	}
	request := u.forwarded
	request.FromCookie, request.Renewal = fromCookie, renewal
	return []string{request.Tag()}, ours
}
