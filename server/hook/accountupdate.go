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

// A tool that does not know the fields headers and header_permissions of a scope's template drops
// them when it writes a new account JWT; nsc is such a tool. The users of the scope's signing key
// would lose their headers. So an update without these fields is reported, and it is refused if
// headers.keep_template_headers is set.

// lostSubject is the subject of Lost events about an account. They are published in the system
// account.
const lostSubject = "$SYS.ACCOUNT.%s.HEADERS.LOST"

// LostType is the type of Lost.
const LostType = "io.stamp.server.advisory.v1.template_headers_lost"

// Lost is the event that an account update dropped the headers or header permissions of scope
// templates or, if Refused is set, would have dropped them.
type Lost struct {
	natsserver.TypedEvent
	Server    natsserver.ServerInfo `json:"server"`
	Account   string                `json:"account"`
	Refused   bool                  `json:"refused,omitempty"`
	Templates []LostTemplate        `json:"templates"` // at most maxShownTemplates
	Count     int                   `json:"count"`     // number of all such templates
}

// LostTemplate is the template of a scope from which an update drops fields.
type LostTemplate struct {
	SigningKey        string `json:"signing_key"`
	Role              string `json:"role,omitempty"`
	Headers           bool   `json:"headers,omitempty"`            // the update drops headers
	HeaderPermissions bool   `json:"header_permissions,omitempty"` // the update drops header_permissions
}

// maxShownTemplates is how many templates an event names.
const maxShownTemplates = 32

var errTemplatesLost = errors.New("headers.keep_template_headers is set, and the update drops headers of a template")

// AccountUpdate implements natsserver.Extension. The server calls it twice for an update: when it
// stores the JWT, and when the JWT comes into force. The second call does not report it again,
// unless an update of another account was reported between the two.
func (h *Hook) AccountUpdate(s *natsserver.Server, account, oldJWT, newJWT string) error {
	lost := lostTemplates(oldJWT, newJWT)
	refused := len(lost) > 0 && rulesOf(s.HeadersBlock()).KeepsTemplateHeaders()
	if !refused {
		h.closeRevoked(s, account, newJWT)
	}
	if len(lost) == 0 {
		return nil
	}
	if h.lostReported.markReported(newJWT) {
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

// markReported marks a JWT as reported, and returns whether it is another one than last time.
func (l *lastReported) markReported(token string) (first bool) {
	digest := sha256.Sum256([]byte(token))
	last := l.digest.Swap(&digest)
	return last == nil || *last != digest
}

func (h *Hook) reportLost(s *natsserver.Server, account string, lost []LostTemplate, refused bool) {
	consequence := "users of these keys lose them"
	if refused {
		consequence = "the update is refused"
	}
	s.Warnf("Account %q: an update drops the headers or header_permissions from the templates of %d scoped signing keys, the first is %s: %s; nsc drops fields that it does not know",
		account, len(lost), lost[0].SigningKey, consequence)
	e := Lost{Account: account, Refused: refused, Templates: lost[:min(len(lost), maxShownTemplates)], Count: len(lost)}
	e.TypedEvent = natsserver.TypedEvent{Type: LostType, ID: nuid.Next(), Time: time.Now().UTC()}
	s.PublishEvent(fmt.Sprintf(lostSubject, account), &e.Server, &e)
}

// lostTemplates returns the scope templates that are in both JWTs and whose headers or
// header_permissions are only in oldJWT. Its cost is linear in the size of the JWTs.
func lostTemplates(oldJWT, newJWT string) []LostTemplate {
	if oldJWT == "" || oldJWT == newJWT {
		return nil
	}
	newTemplates := map[string]template{}
	for _, s := range scopesOf(newJWT) {
		newTemplates[s.Key] = s.Template
	}
	var lost []LostTemplate
	for _, s := range scopesOf(oldJWT) {
		now, kept := newTemplates[s.Key]
		l := LostTemplate{
			SigningKey: s.Key, Role: s.Role,
			Headers:           isFilled(s.Template.Headers) && !isPresent(now.Headers),
			HeaderPermissions: isFilled(s.Template.Permissions) && !isPresent(now.Permissions),
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

// scopesOf returns the scopes in an account JWT whose signature was verified. If the JWT cannot
// be decoded it returns none; the server refuses such a JWT.
func scopesOf(token string) []scope {
	var claims struct {
		NATS struct {
			Keys []json.RawMessage `json:"signing_keys"`
		} `json:"nats"`
	}
	if !decodeClaims(token, &claims) {
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

// decodeClaims decodes the claims of a JWT without verifying its signature, and returns whether
// that succeeded.
func decodeClaims(token string, claims any) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	return err == nil && json.Unmarshal(payload, claims) == nil
}

// isPresent reports whether a JWT has a field. If the field is an empty object, somebody has
// emptied it on purpose.
func isPresent(field json.RawMessage) bool { return len(field) > 0 && string(field) != "null" }

// isFilled reports whether a JWT has a field that is not an empty object.
func isFilled(field json.RawMessage) bool {
	return isPresent(field) && strings.Trim(string(field), "{} \t\r\n") != ""
}
