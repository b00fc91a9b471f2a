package hook

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nuid"
)

// A tool that does not know the fields headers and header_permissions of a scope's template drops them when
// it writes the account JWT again, as nsc does. The users of the scope's signing key then go on without
// their headers, so an update that loses these fields is reported, and refused if the configuration says so.

// lostSubject is where the templates that an account lost are published, in the system account.
const lostSubject = "$SYS.ACCOUNT.%s.HEADERS.LOST"

// LostType is the type of Lost.
const LostType = "io.stamp.server.advisory.v1.template_headers_lost"

// Lost is the event that an account update dropped the headers or header permissions of scopes'
// templates, or tried to.
type Lost struct {
	natsserver.TypedEvent
	Server    natsserver.ServerInfo `json:"server"`
	Account   string                `json:"account"`
	Refused   bool                  `json:"refused,omitempty"`
	Templates []LostTemplate        `json:"templates"` // at most lostShown
	Count     int                   `json:"count"`     // of templates
}

// LostTemplate is the template of a scope.
type LostTemplate struct {
	SigningKey        string `json:"signing_key"`
	Role              string `json:"role,omitempty"`
	Headers           bool   `json:"headers,omitempty"`            // are lost
	HeaderPermissions bool   `json:"header_permissions,omitempty"` // are lost
}

// lostShown is how many templates an event names.
const lostShown = 32

var errTemplatesLost = errors.New("headers.keep_template_headers is set, and the update drops headers of a template")

// AccountUpdate implements natsserver.Extension. An update passes here when the JWT is stored and again when it
// comes into force. The second time is not reported, unless another account's update came between.
func (h *Hook) AccountUpdate(s *natsserver.Server, account, oldJWT, newJWT string) error {
	lost := lostTemplates(oldJWT, newJWT)
	refused := len(lost) > 0 && rulesOf(s.HeadersBlock()).KeepsTemplateHeaders()
	if !refused {
		h.closeRevoked(s, account, newJWT)
	}
	if len(lost) == 0 {
		return nil
	}
	if !h.reported.markReported(newJWT) {
		h.reportLost(s, account, lost, refused)
	}
	if refused {
		return fmt.Errorf("account %q: %w: signing key %s", account, errTemplatesLost, lost[0].SigningKey)
	}
	return nil
}

// lastReported is a digest of the JWT that was reported last.
type lastReported struct {
	digest atomic.Pointer[[sha256.Size]byte]
}

// markReported notes the token, and tells whether it was the one reported last.
func (l *lastReported) markReported(token string) bool {
	next := sha256.Sum256([]byte(token))
	last := l.digest.Swap(&next)
	return last != nil && *last == next
}

func (h *Hook) reportLost(s *natsserver.Server, account string, lost []LostTemplate, refused bool) {
	what := "users of these keys lose them"
	if refused {
		what = "the update is refused"
	}
	s.Warnf("Account %q: an update drops the headers or header_permissions from the templates of %d scoped signing keys, the first is %s: %s; nsc drops fields that it does not know",
		account, len(lost), lost[0].SigningKey, what)
	e := Lost{Account: account, Refused: refused, Templates: lost[:min(len(lost), lostShown)], Count: len(lost)}
	e.TypedEvent = natsserver.TypedEvent{Type: LostType, ID: nuid.Next(), Time: time.Now().UTC()}
	s.PublishEvent(fmt.Sprintf(lostSubject, account), &e.Server, &e)
}

// lostTemplates returns the templates of oldJWT that newJWT has too, but without the headers or without the
// header permissions. The cost is linear in the JWTs.
func lostTemplates(oldJWT, newJWT string) []LostTemplate {
	if oldJWT == "" || oldJWT == newJWT {
		return nil
	}
	after := map[string]template{}
	for _, s := range scopesOf(newJWT) {
		after[s.Key] = s.Template
	}
	var lost []LostTemplate
	for _, s := range scopesOf(oldJWT) {
		now, kept := after[s.Key]
		l := LostTemplate{
			SigningKey: s.Key, Role: s.Role,
			Headers:           filled(s.Template.Headers) && !written(now.Headers),
			HeaderPermissions: filled(s.Template.Permissions) && !written(now.Permissions),
		}
		if kept && (l.Headers || l.HeaderPermissions) {
			lost = append(lost, l)
		}
	}
	return lost
}

// scope is a scoped signing key in an account JWT.
type scope struct {
	Key      string   `json:"key"`
	Role     string   `json:"role"`
	Template template `json:"template"`
}

type template struct {
	Headers     json.RawMessage `json:"headers"`
	Permissions json.RawMessage `json:"header_permissions"`
}

// scopesOf returns the scopes in a JWT whose signature was verified. Of one that cannot be read there are
// none: the server refuses it.
func scopesOf(token string) []scope {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims struct {
		NATS struct {
			Keys []json.RawMessage `json:"signing_keys"`
		} `json:"nats"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	var scopes []scope
	for _, key := range claims.NATS.Keys {
		var s scope
		if json.Unmarshal(key, &s) == nil { // a key without a scope is a string
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// written tells whether a JWT has a field. One that is an empty object was emptied on purpose.
func written(field json.RawMessage) bool { return len(field) > 0 && string(field) != "null" }

// filled tells whether a field says something.
func filled(field json.RawMessage) bool {
	return written(field) && strings.Trim(string(field), "{} \t\r\n") != ""
}
