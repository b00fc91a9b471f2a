// Package forwarded holds what the server tells a callout handler about a
// connection beyond upstream's request (ADR-26): where the credential was found, and
// those headers and cookies of the websocket's upgrade request that the
// configuration lists. The claims of an authorization request have no field for
// that, so it travels in a tag, which is signed and encrypted like the rest.
package forwarded

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// prefix of the tag. The rest is base64url of JSON.
const prefix = "stamp-request:"

// Request is what is told of a connection.
type Request struct {
	// FromCookie tells that the credential is the value of the cookie that the
	// server's websocket block names, and not of the client's CONNECT.
	FromCookie bool `json:"from_cookie,omitempty"`
	// Renewal tells that the connection lives, and is asked about again. A refusal closes it;
	// without an answer the server asks again.
	Renewal bool `json:"renewal,omitempty"`
	// Websocket tells that the connection is by a websocket, which the request itself says of NATS alone.
	Websocket bool `json:"websocket,omitempty"`
	// TokenCookie is the value of the cookie that the server's websocket block names, where CONNECT has no field that
	// it could fill: in MQTT.
	TokenCookie string              `json:"token_cookie,omitempty"`
	Headers     map[string][]string `json:"headers,omitempty"`
	Cookies     map[string]string   `json:"cookies,omitempty"`
	// TooLong names the headers and cookies that the list names and the bounds leave out. They were sent, so a
	// handler must not take them for absent.
	TooLong []string `json:"too_long,omitempty"`
	// NotText names those whose value is not UTF-8, or has U+FFFD in it. JSON, which carries
	// the rest, would turn such bytes into U+FFFD, and with that two values into one. They were sent as well.
	NotText []string `json:"not_text,omitempty"`
}

// What is forwarded is kept as long as the connection lives, and an authorization request is of 1 MiB at most. So what
// is longer is left out. Lengths are those of RFC 9113, section 6.5.2: a line's name and value, and 32 bytes.
const (
	MaxField = 8 << 10  // bytes of one header or cookie
	MaxAll   = 32 << 10 // bytes of all together
	perLine  = 32
)

// List names what is forwarded.
type List struct {
	Headers []string `conf:"headers"` // field names, in any case
	Cookies []string `conf:"cookies"` // names, as they are
}

// Pick returns what of an upgrade request the list names. A cookie that came
// more than once is left out: a page of a sibling domain can set a second one with
// the name of ours (cookie tossing), and nothing tells which is which. A header or a
// cookie above the bounds, or one that is not text, is left out as a whole, never cut or changed, and named.
func (l List) Pick(r *http.Request) Request {
	var out Request
	room := MaxAll
	fits := func(name string, values ...string) bool {
		if slices.ContainsFunc(values, undecodable) {
			out.NotText = append(out.NotText, name)
			return false
		}
		size := 0
		for _, v := range values {
			size += len(name) + len(v) + perLine
		}
		if size > MaxField || size > room {
			out.TooLong = append(out.TooLong, name)
			return false
		}
		room -= size
		return true
	}
	for _, name := range l.Headers {
		name = http.CanonicalHeaderKey(name)
		values := r.Header.Values(name)
		if len(values) == 0 || !fits(name, values...) {
			continue
		}
		if out.Headers == nil {
			out.Headers = map[string][]string{}
		}
		out.Headers[name] = cloned(values)
	}
	for _, name := range l.Cookies {
		value, ok := OnlyCookie(r, name)
		if !ok || !fits(name, value) {
			continue
		}
		if out.Cookies == nil {
			out.Cookies = map[string]string{}
		}
		out.Cookies[name] = strings.Clone(value)
	}
	return out
}

// PickToken adds the cookie of that name, the credential of a connection whose CONNECT has no field for it. One that came
// twice does not count, and one above the bound or that is not text is named.
func (r *Request) PickToken(from *http.Request, name string) {
	value, ok := OnlyCookie(from, name)
	switch {
	case name == "" || !ok:
	case undecodable(value):
		r.NotText = append(r.NotText, name)
	case len(name)+len(value)+perLine > MaxField:
		r.TooLong = append(r.TooLong, name)
	default:
		r.TokenCookie = strings.Clone(value)
	}
}

// cloned are values that do not hold the request's memory.
func cloned(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strings.Clone(v)
	}
	return out
}

// undecodable tells whether a value of a header or cookie is not UTF-8, or has a character that stands for what could not
// be decoded. Of control characters net/http lets only the tab through.
func undecodable(value string) bool { return strings.ContainsRune(value, utf8.RuneError) }

// Tag is r as a tag of an authorization request.
func (r Request) Tag() string {
	// Strings and maps of strings can always be written.
	text, _ := json.Marshal(r)
	return prefix + base64.RawURLEncoding.EncodeToString(text)
}

// FromTags finds what a server told. ok is false when it told nothing, as a
// server that is not ours does.
func FromTags(tags []string) (r Request, ok bool) {
	for _, tag := range tags {
		text, found := strings.CutPrefix(tag, prefix)
		if !found {
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
