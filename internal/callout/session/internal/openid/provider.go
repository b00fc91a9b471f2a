package openid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/callout/session/internal/web"
)

// Provider holds the discovery document and the keys of an OpenID provider. It fetches
// them in the background until Close. So the handler starts even if the provider is
// down, and connections do not wait for the provider while its keys are known.
type Provider struct {
	cfg      *Config
	log      *slog.Logger
	document remote[*Document]
	keys     remote[[]Key]
	stop     context.CancelFunc
	work     sync.WaitGroup

	skipped skippedKeys
	waiting atomic.Int64 // tokens that wait for a key
}

// Document is the discovery document (OpenID Connect Discovery 1.0, section 3). The
// endpoints of the configuration replace those of the provider.
type Document struct {
	Endpoints
	TokenName   string   // token endpoint as the provider names it, also if the configuration replaces it
	AuthMethods []string // that the token endpoint accepts
}

// Open returns the provider and begins to fetch the document and the keys. log has the
// name of the source.
func (c *Config) Open(ctx context.Context, log *slog.Logger) *Provider {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &Provider{cfg: c, log: log, stop: stop}
	p.document.timeout, p.document.fetch = c.RequestTime, p.fetchDocument
	p.keys.timeout, p.keys.fetch = c.RequestTime, p.fetchKeys
	// If the provider has no usable key, the earlier keys have been withdrawn.
	p.keys.isResult = func(err error) bool { return errors.Is(err, errNoKeys) }
	p.work.Go(func() { p.follow(ctx) })
	return p
}

// Close ends the fetching and closes idle connections. It does not wait for requests.
func (p *Provider) Close() {
	p.stop()
	p.work.Wait()
	p.cfg.client.Close()
}

// follow fetches the document and the keys until it has them, and again before they are
// too old.
func (p *Provider) follow(ctx context.Context) {
	failing := false
	for {
		err := p.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		// The random part keeps processes that started together from sending requests together.
		wait := p.cfg.KeysRefresh/2 + rand.N(p.cfg.KeysRefresh/4)
		switch {
		case err != nil:
			wait = time.Until(p.nextTry())
			if !failing {
				p.log.Warn("the OpenID provider is not available; trying again", "error", err)
			}
		case failing:
			p.log.Info("the OpenID provider is available again")
		}
		failing = err != nil
		timer := time.NewTimer(max(wait, firstRetry/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// nextTry returns when the next request for the document or the keys may be sent,
// whichever is missing.
func (p *Provider) nextTry() time.Time {
	if document := p.document.snapshot(); p.discovers() && document.failure != nil {
		return document.next
	}
	return p.keys.snapshot().next
}

// refresh fetches the document, and then the keys, whose URL may have changed.
func (p *Provider) refresh(ctx context.Context) error {
	var err error
	if p.discovers() {
		if err = p.document.refresh(ctx); err != nil && !p.document.snapshot().has {
			return err
		}
	}
	if keysErr := p.keys.refresh(ctx); keysErr != nil {
		return keysErr
	}
	return err
}

func (p *Provider) discovers() bool { return p.cfg.Discovers() }

// Discovers reports whether the discovery document is needed, because the configuration
// lacks an endpoint.
func (c *Config) Discovers() bool {
	e := c.Endpoints
	return e.JWKS == "" || c.LogsIn && (e.Authorization == "" || e.Token == "")
}

// Known reports whether the endpoints are known, so that Document does not wait.
func (p *Provider) Known() bool { return !p.discovers() || p.document.snapshot().has }

// Document returns the endpoints. If they are not known yet, it waits for the provider.
func (p *Provider) Document(ctx context.Context) (*Document, error) {
	if !p.discovers() {
		return &Document{Endpoints: p.cfg.Endpoints, TokenName: p.cfg.Endpoints.Token}, nil
	}
	if held := p.document.snapshot(); held.has {
		return held.value, nil
	}
	if err := p.document.refresh(ctx); err != nil {
		return nil, err
	}
	return p.document.snapshot().value, nil
}

// send sends a request to the provider, with a time-out for the request and the answer.
// Its error holds no part of either.
func (p *Provider) send(ctx context.Context, method, at string, form url.Values, edit func(*http.Request)) (*web.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, unavailable("the address is not a URL")
	}
	r.Header.Set("Accept", "application/json")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if edit != nil {
		edit(r)
	}
	answer, err := p.cfg.client.Do(r)
	if err != nil {
		return nil, &Unavailable{reason: err}
	}
	return answer, nil
}

// successBody returns the body of an answer with status 200, and an error otherwise.
func successBody(answer *web.Answer, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, failed(answer)
	}
	return answer.Body, nil
}

func (p *Provider) fetchDocument(ctx context.Context) (*Document, error) {
	at := p.cfg.documentURL()
	body, err := successBody(p.send(ctx, http.MethodGet, at, nil, nil))
	if err != nil {
		return nil, fmt.Errorf("discover the provider: %w", err)
	}
	d, err := p.cfg.readDocument(body, at)
	if err != nil {
		return nil, fmt.Errorf("discover the provider: %w", err)
	}
	return d, nil
}

// readDocument reads the discovery document from the URL at.
func (c *Config) readDocument(body []byte, at string) (*Document, error) {
	data, err := stored.Object(body)
	if err != nil {
		return nil, errors.New("the answer is not a discovery document")
	}
	if data["issuer"] != c.Issuer {
		return nil, errors.New("the document has another issuer than the field issuer")
	}
	d := &Document{Endpoints: c.Endpoints, AuthMethods: texts(data["token_endpoint_auth_methods_supported"])}
	for _, e := range d.each() {
		if *e.url != "" {
			continue // set in the configuration
		}
		text, _ := data[e.member].(string)
		needed := e.name == "jwks" || c.LogsIn && (e.name == "authorization" || e.name == "token")
		switch {
		case isSafeEndpoint(text, at):
			*e.url = text
		case needed && text == "":
			return nil, fmt.Errorf("the document has no %s", e.member)
		case needed:
			return nil, fmt.Errorf("%s in the document: expected a URL with https, like that of the document", e.member)
		}
	}
	if d.TokenName, _ = data["token_endpoint"].(string); d.TokenName == "" {
		d.TokenName = d.Token
	}
	return d, nil
}

// isSafeEndpoint reports whether an endpoint of a document can be used. Whoever can tamper
// with its answers could impersonate any user, so if the document has an https URL, the
// endpoint must have one too.
func isSafeEndpoint(endpoint, document string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && !isHTTPS(document))
}

func (p *Provider) fetchKeys(ctx context.Context) ([]Key, error) {
	body, err := successBody(p.askEndpoint(ctx, func(d *Document) string { return d.JWKS }, func(ctx context.Context, d *Document) (*web.Answer, error) {
		return p.send(ctx, http.MethodGet, d.JWKS, nil, nil)
	}))
	if err != nil {
		return nil, fmt.Errorf("get the provider's keys: %w", err)
	}
	keys, skipped, err := parseKeys(body)
	p.skipped.report(p.log, skipped)
	return keys, err
}

// UserInfo returns the claims of a person from the userinfo endpoint (OpenID Connect Core
// 1.0, section 5.3).
func (p *Provider) UserInfo(ctx context.Context, accessToken, subject string) (map[string]any, error) {
	body, err := successBody(p.askEndpoint(ctx, func(d *Document) string { return d.UserInfo }, func(ctx context.Context, d *Document) (*web.Answer, error) {
		if d.UserInfo == "" {
			return nil, unavailable("the provider has no userinfo endpoint")
		}
		return p.send(ctx, http.MethodGet, d.UserInfo, nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+accessToken) })
	}))
	if err != nil {
		return nil, fmt.Errorf("get userinfo: %w", err)
	}
	claims, err := stored.Object(body)
	if err != nil {
		return nil, unavailable("get userinfo: the answer is not a JSON object")
	}
	// The answer could be about another person (section 5.3.2).
	if claims["sub"] != subject {
		return nil, errors.New("get userinfo: the answer is about another person")
	}
	return claims, nil
}

// object decodes a JSON object into a map, so that only exact names match. It returns nil
// if text is not an object.
func object(text []byte) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return nil
	}
	return members
}

// Ready returns 0 if tokens of the provider can be verified now, and otherwise how long
// to wait before the next try. It sends a request if the keys are not known.
func (p *Provider) Ready(ctx context.Context) (wait time.Duration) {
	if _, err := p.findKeys(ctx, ""); err == nil {
		return 0
	}
	return max(time.Until(p.nextTry()), 0) + firstRetry/2 + rand.N(firstRetry)
}
