package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/callout/session/internal/web"
)

type source struct{ cfg *Config }

// Open returns the source. It does not connect to the application; the first look-up
// does.
func (c *Config) Open(context.Context, session.Env) (session.Source, error) { return source{c}, nil }

// Close closes the connections to the application.
func (s source) Close() error {
	s.cfg.client.Close()
	return nil
}

// Accepts accepts cookies and tokens that can be sent in the configured header field. The
// key also has the forwarded headers and cookies, on which the answer may depend.
func (s source) Accepts(r *session.Request) (string, bool) {
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token {
		return "", false
	}
	value := r.Credential.Value
	if value == "" || len(value) > s.cfg.MaxCredential {
		return "", false
	}
	if s.cfg.isCookie() && !validCookie(value) || !validValue(value) || strings.Trim(value, " \t") != value {
		return "", false
	}
	var key strings.Builder
	fmt.Fprintf(&key, "%d:%s", len(value), value)
	for _, name := range s.cfg.Forward.Headers {
		for _, v := range r.Headers[http.CanonicalHeaderKey(name)] {
			fmt.Fprintf(&key, "%d:%s", len(v), v)
		}
		key.WriteByte('\n')
	}
	for _, name := range s.cfg.Forward.Cookies {
		if v, ok := r.Cookies[name]; ok {
			fmt.Fprintf(&key, "%d:%s", len(v), v)
		}
		key.WriteByte('\n')
	}
	return key.String(), true
}

// validCookie reports whether value can be the value of a cookie. It allows the
// cookie-octets of RFC 6265 and the other characters that browsers send, but not those
// that would begin another cookie.
func validCookie(value string) bool {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == ';' {
			return false
		}
	}
	return true
}

// Find asks the application about the credential.
func (s source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	if _, ok := s.Accepts(r); !ok {
		return nil, session.ErrUnknown
	}
	request, err := http.NewRequestWithContext(ctx, s.cfg.Method, s.cfg.URL.Reveal(), nil)
	if err != nil {
		return nil, errors.New("url is not valid") // cannot happen: Parse has checked it
	}
	if err := s.fill(request, r); err != nil {
		return nil, err
	}
	answer, err := s.cfg.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the application: %w", err)
	}
	switch {
	case answer.Status >= 200 && answer.Status < 300:
		return s.read(answer, r)
	case slices.Contains(s.cfg.unknown, answer.Status):
		return nil, session.ErrUnknown
	}
	return nil, fmt.Errorf("ask the application: expected a status from 200 to 299 for a session, or one of unknown for none; found status %d", answer.Status)
}

// fill adds the credential, the fixed headers and the forwarded headers and cookies to a
// request. It fails if a forwarded one cannot be sent, because the application would
// treat a missing one as absent.
func (s source) fill(to *http.Request, r *session.Request) error {
	to.Header.Set("Accept", "application/json")
	for name, values := range s.cfg.fixed {
		to.Header[name] = values
	}
	if s.cfg.host != "" {
		to.Host = s.cfg.host
	}
	for _, name := range s.cfg.Forward.Headers {
		for _, v := range r.Headers[http.CanonicalHeaderKey(name)] {
			if !canForward(v) {
				return fmt.Errorf("forward: the header %s of the client has characters that cannot be sent", name)
			}
			to.Header.Add(name, v)
		}
	}
	var cookies []string
	if s.cfg.isCookie() {
		cookies = append(cookies, s.cfg.CookieName+"="+r.Credential.Value)
	} else {
		to.Header.Set(s.cfg.Header, strings.TrimSpace(s.cfg.Scheme+" "+r.Credential.Value))
	}
	for _, name := range s.cfg.Forward.Cookies {
		v, ok := r.Cookies[name]
		if !ok {
			continue
		}
		if !canForwardCookie(v) {
			return fmt.Errorf("forward: the cookie %s of the client has characters that cannot be sent", name)
		}
		cookies = append(cookies, name+"="+v) // Parse has checked that its name is not that of the credential
	}
	if len(cookies) > 0 {
		to.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	return nil
}

// read returns the session in an answer. Its content is the JSON object of the body, with
// the configured header fields, which replace fields of the object.
func (s source) read(answer *web.Answer, r *session.Request) (*session.Session, error) {
	data := map[string]any{}
	if len(answer.Body) > 0 && isJSON(answer.Header) {
		var err error
		if data, err = stored.Object(answer.Body); err != nil {
			return nil, fmt.Errorf("answer of the application: %w", err)
		}
	} else if len(s.cfg.fields) == 0 {
		return nil, errors.New("answer of the application: expected JSON, because the source has no fields; found another Content-Type or no body")
	}
	for field, name := range s.cfg.fields {
		switch values := answer.Header.Values(name); len(values) {
		case 0:
			delete(data, field)
		case 1:
			data[field] = values[0]
		default:
			return nil, fmt.Errorf("answer of the application: duplicate header field %s", name)
		}
	}
	expires, err := stored.Expires(data, s.cfg.Expires)
	if err != nil {
		return nil, fmt.Errorf("answer of the application: %w", err)
	}
	key := r.Credential.Value
	if s.cfg.Key != "" {
		id, ok := data[s.cfg.Key].(string)
		if !ok || id == "" {
			return nil, fmt.Errorf("answer of the application: field %q: expected a text that identifies the session", s.cfg.Key)
		}
		// U+FFFD replaces any bytes that cannot be decoded, so two sessions could get one key.
		if strings.ContainsRune(id, utf8.RuneError) {
			return nil, fmt.Errorf("answer of the application: field %q, which identifies the session, has a character that cannot be decoded", s.cfg.Key)
		}
		key = id
	}
	return &session.Session{Data: data, Expires: expires, Key: stored.SessionKey(key)}, nil
}

// isJSON reports whether the header of an answer says that its body is JSON.
func isJSON(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}
