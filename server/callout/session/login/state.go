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

// began is a login that is under way. It is the state of the authorization request (OpenID Connect Core 1.0, section
// 3.1.2.1), sealed, so that any handler can end it and nothing is kept of logins that nobody ends.
type began struct {
	ID      string `json:"id"`
	Browser string `json:"browser"` // hash of the secret in the cookie of the browser that began it
	To      string `json:"to"`
	Expires int64  `json:"expires"`         // Unix seconds
	Again   bool   `json:"again,omitempty"` // it was begun because another one could not be ended
	// Old is the key of the session that the browser had then. With same_site: strict its cookie does not come with the
	// callback, to which another site sends the browser.
	Old string `json:"old,omitempty"`
}

// pending is what the request for authorization says of a login.
type pending struct{ State, Nonce, Verifier string }

const stateName = "state"

func (k sourceKeys) sealState(l began) (string, error) {
	var text bytes.Buffer
	json := json.NewEncoder(&text)
	json.SetEscapeHTML(false) // which would take six bytes for one, in a URL
	if err := json.Encode(l); err != nil {
		return "", err
	}
	value, err := k.seal(stateName, text.Bytes())
	return base64.RawURLEncoding.EncodeToString(value), err
}

// openState opens a state of ours, which may have expired.
func (k sourceKeys) openState(state string) (l began, ok bool) {
	value, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil {
		return l, false
	}
	text, err := k.open(stateName, value)
	return l, err == nil && json.Unmarshal(text, &l) == nil && isLocalPath(l.To)
}

// in tells whether the login was begun in the browser that has the secret, and not too long ago.
func (l began) in(browser string) bool {
	return browser != "" && hmac.Equal([]byte(l.Browser), []byte(hashed(browser))) && time.Now().Unix() < l.Expires
}

// asked is when the provider was asked for authorization.
func (l began) asked() time.Time { return time.Unix(l.Expires, 0).Add(-loginTime) }

// Uses of derived.
const (
	forNonce    = "nonce"
	forVerifier = "verifier"
)

// derived is a secret of one login that only its browser can show again: the nonce of its ID token, and the code
// verifier (RFC 7636). So neither is in the URL, not even sealed, nor are there cookies for each login.
func (l began) derived(browser, use string) string {
	mac := hmac.New(sha256.New, []byte(browser))
	mac.Write([]byte(use + " " + l.ID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// browserSecret is what the cookie of begun logins holds; empty: nothing that can be one of ours.
func (s *source) browserSecret(r *http.Request) string {
	// Two are none: a page of a sibling domain may have set the other.
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
