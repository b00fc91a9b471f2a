// Package forwarded defines what the server and a callout handler tell each other
// beyond NATS' authorization request and answer (ADR-26).
//
// The claims of an authorization request have no field for the headers and cookies
// of a websocket's upgrade request. The server sends them to the handler in a tag,
// which is signed and encrypted like the rest of the request; see Request. The
// handler answers with tags that name the session and a key by which the user can be
// revoked; see SessionTag and UserKeyTag. Handlers and operators ask the servers to
// renew or close connections; see Renew.
package forwarded

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// requestPrefix begins the tag of a Request. The rest is JSON as base64url.
const requestPrefix = "stamp-request:"

// Request is what the server tells the handler about a connection.
type Request struct {
	// FromCookie is set if the credential is the value of the cookie that the
	// server's websocket block names, and not a field of the client's CONNECT.
	FromCookie bool `json:"from_cookie,omitempty"`
	// Renewal is set if the connection is already authenticated and is being renewed.
	// If the handler refuses, the server closes the connection. Without an answer the
	// server asks again.
	Renewal bool `json:"renewal,omitempty"`
	// Websocket is set if the client connected over a websocket. The authorization
	// request itself says that only for clients that use the NATS protocol.
	Websocket bool `json:"websocket,omitempty"`
	// TokenCookie is the value of the cookie that the server's websocket block names,
	// if the client uses MQTT, whose CONNECT has no field that the server could put it
	// into.
	TokenCookie string              `json:"token_cookie,omitempty"`
	Headers     map[string][]string `json:"headers,omitempty"`
	Cookies     map[string]string   `json:"cookies,omitempty"`
	// TooLong names the listed headers and cookies that were left out because they
	// exceed MaxField or MaxAll. The client sent them, so the handler must not treat
	// them as absent.
	TooLong []string `json:"too_long,omitempty"`
	// NotText names the listed headers and cookies that were left out because they are
	// not UTF-8, or contain U+FFFD. JSON replaces bytes that are not UTF-8 by U+FFFD, so
	// two different values could become equal. The handler must not treat these as
	// absent either.
	NotText []string `json:"not_text,omitempty"`
}

// The server keeps a Request as long as the connection lives, and an authorization
// request must fit into 1 MiB. Headers and cookies that would exceed these limits are
// left out. The size of a header or cookie is that of RFC 9113, section 6.5.2: the
// length of its name, the length of its value, and 32 bytes.
const (
	MaxField  = 8 << 10  // bytes of one header, with all its lines, or of one cookie
	MaxAll    = 32 << 10 // bytes of all headers and cookies of a request
	lineExtra = 32       // bytes that are added to each line of a header, and to a cookie
)

// List names the headers and cookies that the server forwards.
type List struct {
	Headers []string `conf:"headers"` // header names; case does not matter
	Cookies []string `conf:"cookies"` // cookie names; case matters
}

// Pick returns the headers and cookies of an upgrade request that l names.
//
// A header or cookie that exceeds the limits, or is not text, is left out as a whole
// and named in the result; it is never cut or changed.
//
// A cookie that the request contains more than once is left out and not named: a page
// of a sibling domain can set a second cookie with the name of ours (cookie tossing),
// and the server cannot tell which one is ours.
func (l List) Pick(r *http.Request) Request {
	var picked Request
	room := MaxAll
	addIfFits := func(name string, values ...string) bool {
		if !areText(values) {
			picked.NotText = append(picked.NotText, name)
			return false
		}
		size := fieldSize(name, values)
		if size > MaxField || size > room {
			picked.TooLong = append(picked.TooLong, name)
			return false
		}
		room -= size
		return true
	}
	for _, name := range l.Headers {
		name = http.CanonicalHeaderKey(name)
		values := r.Header.Values(name)
		if len(values) == 0 || !addIfFits(name, values...) {
			continue
		}
		if picked.Headers == nil {
			picked.Headers = map[string][]string{}
		}
		picked.Headers[name] = cloned(values)
	}
	for _, name := range l.Cookies {
		value, ok := singleCookie(r, name)
		if !ok || !addIfFits(name, value) {
			continue
		}
		if picked.Cookies == nil {
			picked.Cookies = map[string]string{}
		}
		picked.Cookies[name] = strings.Clone(value)
	}
	return picked
}

// AddTokenCookie sets TokenCookie to the cookie of this name. The rules of Pick apply:
// a cookie that is too long or not text is named, and one that the request contains
// more than once is left out.
func (r *Request) AddTokenCookie(upgrade *http.Request, name string) {
	value, ok := singleCookie(upgrade, name)
	values := []string{value}
	switch {
	case name == "" || !ok:
	case !areText(values):
		r.NotText = append(r.NotText, name)
	case fieldSize(name, values) > MaxField:
		r.TooLong = append(r.TooLong, name)
	default:
		r.TokenCookie = strings.Clone(value)
	}
}

// cloned returns copies of values. A Request lives longer than the HTTP request, whose
// buffer it must not keep in memory.
func cloned(values []string) []string {
	copies := make([]string, len(values))
	for i, v := range values {
		copies[i] = strings.Clone(v)
	}
	return copies
}

// areText reports whether all values are UTF-8 without U+FFFD. The tab is the only
// control character that net/http lets pass.
func areText(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return strings.ContainsRune(v, utf8.RuneError) })
}

// fieldSize returns the size of a header with these lines, or of a cookie, in bytes.
func fieldSize(name string, values []string) (size int) {
	for _, v := range values {
		size += len(name) + len(v) + lineExtra
	}
	return size
}

// Tag returns r as a tag of an authorization request.
func (r Request) Tag() string {
	text, _ := json.Marshal(r) // no field has a type that can fail
	return requestPrefix + base64.RawURLEncoding.EncodeToString(text)
}

// FromTags returns the Request in the tags of an authorization request. ok is false if
// there is none, as in a request of a stock server, or if it cannot be decoded.
func FromTags(tags []string) (r Request, ok bool) {
	for _, tag := range tags {
		text, isRequest := strings.CutPrefix(tag, requestPrefix)
		if !isRequest {
			continue
		}
		data, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || json.Unmarshal(data, &r) != nil {
			return Request{}, false
		}
		return r, true
	}
	return Request{}, false
}
