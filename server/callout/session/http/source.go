package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
	"stamp/server/callout/session/internal/web"
)

type source struct{ cfg *Config }

// Open returns the source. The application is asked when there is something to
// ask.
func (c *Config) Open(context.Context, session.Env) (session.Source, error) { return source{c}, nil }

// Close closes the connections to the application.
func (s source) Close() error {
	s.cfg.client.Close()
	return nil
}

// Accepts takes cookies and tokens that can be sent as one. The answer depends on
// all that is sent.
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

// validCookie tells whether the text can be a cookie's value as browsers send it
// (RFC 6265, cookie-octet, and what browsers send beyond it): nothing that would begin another cookie.
func validCookie(value string) bool {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == ';' {
			return false
		}
	}
	return true
}

// Find asks the application.
func (s source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	if _, ok := s.Accepts(r); !ok {
		return nil, session.ErrUnknown
	}
	request, err := http.NewRequestWithContext(ctx, s.cfg.Method, s.cfg.URL.Reveal(), nil)
	if err != nil {
		return nil, errors.New("url is not valid") // Parse has seen to that
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
	return nil, fmt.Errorf("ask the application: status %d says neither that there is a session nor that there is none", answer.Status)
}

// fill puts the credential, and what goes along with it, into a request. What cannot be sent is not left out: the
// application would take it for absent.
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
				return fmt.Errorf("forward: header %s has characters that cannot be sent", name)
			}
			to.Header.Add(name, v)
		}
	}
	var cookies []string
	if s.cfg.isCookie() {
		cookies = append(cookies, s.cfg.Field+"="+r.Credential.Value)
	} else {
		to.Header.Set(s.cfg.Header, strings.TrimSpace(s.cfg.Scheme+" "+r.Credential.Value))
	}
	for _, name := range s.cfg.Forward.Cookies {
		v, ok := r.Cookies[name]
		if !ok {
			continue
		}
		if !canForwardCookie(v) {
			return fmt.Errorf("forward: cookie %s has characters that cannot be sent", name)
		}
		cookies = append(cookies, name+"="+v) // none has the credential's name: Parse has seen to that
	}
	if len(cookies) > 0 {
		to.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	return nil
}

// read makes a session of an answer: its JSON object, and the header fields that
// the configuration names, which go before fields of the object.
func (s source) read(answer *web.Answer, r *session.Request) (*session.Session, error) {
	data := map[string]any{}
	if len(answer.Body) > 0 && isJSON(answer.Header) {
		var err error
		if data, err = stored.Object(answer.Body); err != nil {
			return nil, fmt.Errorf("answer of the application: %w", err)
		}
	} else if len(s.cfg.fields) == 0 {
		return nil, errors.New("answer of the application: it is not JSON, and no header fields are configured")
	}
	for field, name := range s.cfg.fields {
		switch values := answer.Header.Values(name); len(values) {
		case 0:
			delete(data, field)
		case 1:
			data[field] = values[0]
		default:
			return nil, fmt.Errorf("answer of the application: header field %s is there more than once", name)
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
			return nil, fmt.Errorf("answer of the application: field %q, which names the session, is not a text", s.cfg.Key)
		}
		if strings.ContainsRune(id, utf8.RuneError) { // it stands for many characters, so that two sessions could have one name
			return nil, fmt.Errorf("answer of the application: field %q, which names the session, has a character that cannot be decoded", s.cfg.Key)
		}
		key = id
	}
	return &session.Session{Data: data, Expires: expires, Key: stored.SessionKey(key)}, nil
}

func isJSON(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}
