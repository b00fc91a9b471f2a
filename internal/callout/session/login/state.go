package login

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// began is a login that has begun. It is the state parameter of the authorization request (OpenID
// Connect Core 1.0, section 3.1.2.1), sealed. So any handler can complete the login, and nothing is
// stored of logins that are never completed.
type began struct {
	ID      string `json:"id"`
	Browser string `json:"browser"` // hash of the secret in the browser's login cookie
	To      string `json:"to"`
	Expires int64  `json:"expires"`         // Unix seconds
	Again   bool   `json:"again,omitempty"` // an earlier login could not be completed
	// Old is the key of the session that the browser had when the login began. With same_site:
	// strict, the session's cookie does not come with the callback, because another site sends the
	// browser there.
	Old string `json:"old,omitempty"`
}

// pending is what the authorization request says of a login.
type pending struct{ State, Nonce, Verifier string }

const stateName = "state"

func (k sourceKeys) sealState(l began) (string, error) {
	var text bytes.Buffer
	json := json.NewEncoder(&text)
	json.SetEscapeHTML(false) // escaping would take six bytes of the URL instead of one
	if err := json.Encode(l); err != nil {
		return "", err
	}
	value, err := k.seal(stateName, text.Bytes())
	return base64.RawURLEncoding.EncodeToString(value), err
}

// openState opens a state that we have sealed. It may have expired.
func (k sourceKeys) openState(state string) (l began, ok bool) {
	value, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil {
		return l, false
	}
	text, err := k.open(stateName, value)
	return l, err == nil && json.Unmarshal(text, &l) == nil && isLocalPath(l.To)
}

// in reports whether the login began in the browser with this secret, and has not expired.
func (l began) in(browser string) bool {
	return browser != "" && hmac.Equal([]byte(l.Browser), []byte(hashed(browser))) && time.Now().Unix() < l.Expires
}

// asked returns when the authorization request was made.
func (l began) asked() time.Time { return time.Unix(l.Expires, 0).Add(-loginTime) }

// Uses of derived secrets.
const (
	forNonce    = "nonce"
	forVerifier = "verifier"
)

// derived returns a secret of one login that only its browser can produce again: the nonce of the
// ID token, or the code verifier (RFC 7636). So neither is in a URL, not even sealed, and the
// browser needs no cookie for each login.
func (l began) derived(browser, use string) string {
	mac := hmac.New(sha256.New, []byte(browser))
	mac.Write([]byte(use + " " + l.ID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// browserSecret returns the secret in the browser's login cookie. It is empty if there is none, or
// one that cannot be ours.
func (s *source) browserSecret(r *http.Request) string {
	// Two cookies count as none: a page of a sibling domain may have set one of them.
	cookies := r.CookiesNamed(s.cfg.loginCookie())
	if len(cookies) != 1 {
		return ""
	}
	secret, err := base64.RawURLEncoding.DecodeString(cookies[0].Value)
	if err != nil || len(secret) != secretSize {
		return ""
	}
	return cookies[0].Value
}
