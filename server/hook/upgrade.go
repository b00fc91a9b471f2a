package hook

import (
	"net/http"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
	"stamp/server/policy"
)

// upgrade is what is kept of a websocket's upgrade request.
type upgrade struct {
	told         forwarded.Request
	ours         bool   // the configuration has a callout block
	forwardedFor string // the end of X-Forwarded-For, empty without one
}

var _ natsserver.ConnRecord = (*upgrade)(nil)

// Upgrade implements natsserver.Extension.
func (h *Hook) Upgrade(o *natsserver.Options, r *http.Request) natsserver.ConnRecord {
	if r == nil {
		return noUpgrade
	}
	u := &upgrade{forwardedFor: policy.JoinForwardedFor(r.Header.Values("X-Forwarded-For"))}
	if cfg := calloutConfig(o); cfg != nil {
		u.told, u.ours = cfg.Request.Pick(r), true
		if isMQTT(r) {
			// Upstream puts the cookie into the CONNECT of NATS alone.
			u.told.AddTokenCookie(r, o.Websocket.TokenCookie)
		}
	}
	u.told.Websocket = true
	return u
}

// isMQTT tells whether the websocket is to carry MQTT (websocket.go, wsUpgrade).
func isMQTT(r *http.Request) bool {
	return r.URL != nil && strings.HasSuffix(r.URL.EscapedPath(), "/mqtt")
}

// noUpgrade is kept of a connection that is no websocket.
var noUpgrade = &upgrade{}

// RefusesDuplicates implements natsserver.ConnRecord.
func (u *upgrade) RefusesDuplicates() bool { return u.ours }

// Duplicate implements natsserver.ConnRecord.
func (u *upgrade) Duplicate(r *http.Request, cookie string) bool {
	return forwarded.HasDuplicateCookie(r, cookie)
}

// CalloutTags implements natsserver.ConnRecord. A renewal is told to every handler; the rest to
// ours, which the configuration has a block for.
func (u *upgrade) CalloutTags(o *natsserver.Options, fromCookie, renewal bool) (tags []string, ours bool) {
	ours = calloutConfig(o) != nil
	if !ours && !renewal {
		return nil, false
	}
	told := u.told
	told.FromCookie, told.Renewal = fromCookie, renewal
	return []string{told.Tag()}, ours
}
