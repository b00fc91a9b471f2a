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

	"stamp/server/callout/session/internal/stored"
	"stamp/server/callout/session/internal/web"
)

// Provider is an OpenID provider as far as it is known. Its document and keys are asked for in the
// background until Close: a provider that is away for a while keeps nobody from starting, and no
// connection waits for one whose keys are known.
type Provider struct {
	cfg      *Config
	log      *slog.Logger
	document remote[*Document]
	keys     remote[[]Key]
	stop     context.CancelFunc
	work     sync.WaitGroup

	odd     oddKeys
	waiting atomic.Int64 // tokens that wait for a key
}

// Document is what a discovery document says (OpenID Connect Discovery 1.0, section 3), with the
// endpoints of the configuration in place of its own.
type Document struct {
	Endpoints
	TokenName   string   // what the provider calls its token endpoint
	AuthMethods []string // of the token endpoint
}

// Open begins to ask the provider. log has the name of the source.
func (c *Config) Open(ctx context.Context, log *slog.Logger) *Provider {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &Provider{cfg: c, log: log, stop: stop}
	p.document.timeout, p.document.ask = c.RequestTime, p.askDocument
	p.keys.timeout, p.keys.ask = c.RequestTime, p.askKeys
	// The provider has no key: those that were there are withdrawn.
	p.keys.keep = func(err error) bool { return errors.Is(err, errNoKeys) }
	p.work.Go(func() { p.follow(ctx) })
	return p
}

// Close ends the asking, and closes the connections that are idle. It waits for no request.
func (p *Provider) Close() {
	p.stop()
	p.work.Wait()
	p.cfg.client.Close()
}

// follow asks for document and keys until they are there, and then before they are old.
func (p *Provider) follow(ctx context.Context) {
	failing := false
	for {
		err := p.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		// Not all processes that have begun at once ask at once.
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

// nextTry is when what is missing may be asked for again.
func (p *Provider) nextTry() time.Time {
	if document := p.document.held(); p.discovers() && document.failure != nil {
		return document.next
	}
	return p.keys.held().next
}

// refresh asks for the document, and then for the keys: they may have moved.
func (p *Provider) refresh(ctx context.Context) error {
	var err error
	if p.discovers() {
		if err = p.document.refresh(ctx); err != nil && !p.document.held().has {
			return err
		}
	}
	if keysErr := p.keys.refresh(ctx); keysErr != nil {
		return keysErr
	}
	return err
}

func (p *Provider) discovers() bool { return p.cfg.Discovers() }

// Discovers tells whether the provider has to be asked where its endpoints are.
func (c *Config) Discovers() bool {
	e := c.Endpoints
	return e.JWKS == "" || c.LogsIn && (e.Authorization == "" || e.Token == "")
}

// Known tells whether Document does not wait.
func (p *Provider) Known() bool { return !p.discovers() || p.document.held().has }

// Document returns the endpoints. It waits for the provider when nothing is known of it yet.
func (p *Provider) Document(ctx context.Context) (*Document, error) {
	if !p.discovers() {
		return &Document{Endpoints: p.cfg.Endpoints, TokenName: p.cfg.Endpoints.Token}, nil
	}
	if held := p.document.held(); held.has {
		return held.value, nil
	}
	if err := p.document.refresh(ctx); err != nil {
		return nil, err
	}
	return p.document.held().value, nil
}

// do sends a request to the provider, with a time-out for all of it. Its error says nothing of what was
// sent or answered.
func (p *Provider) do(ctx context.Context, method, at string, form url.Values, edit func(*http.Request)) (*web.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, unavailable("address is not a URL")
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

// bodyOf is the body of an answer whose status is that of success.
func bodyOf(answer *web.Answer, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, failed(answer)
	}
	return answer.Body, nil
}

func (p *Provider) askDocument(ctx context.Context) (*Document, error) {
	at := p.cfg.documentURL()
	body, err := bodyOf(p.do(ctx, http.MethodGet, at, nil, nil))
	if err != nil {
		return nil, fmt.Errorf("discover the provider: %w", err)
	}
	d, err := p.cfg.readDocument(body, at)
	if err != nil {
		return nil, fmt.Errorf("discover the provider: %w", err)
	}
	return d, nil
}

// readDocument reads the discovery document that is at a URL.
func (c *Config) readDocument(body []byte, at string) (*Document, error) {
	data, err := stored.Object(body)
	if err != nil {
		return nil, errors.New("the answer is not a discovery document")
	}
	if data["issuer"] != c.Issuer {
		return nil, errors.New("it calls itself by another name than issuer")
	}
	d := &Document{Endpoints: c.Endpoints, AuthMethods: texts(data["token_endpoint_auth_methods_supported"])}
	for _, e := range d.each() {
		if *e.url != "" {
			continue // the configuration's
		}
		text, _ := data[e.member].(string)
		needed := e.name == "jwks" || c.LogsIn && (e.name == "authorization" || e.name == "token")
		switch {
		case mayBeAsked(text, at):
			*e.url = text
		case needed && text == "":
			return nil, fmt.Errorf("its document has no %s", e.member)
		case needed:
			return nil, fmt.Errorf("%s of its document is not at an https address, as the document is", e.member)
		}
	}
	if d.TokenName, _ = data["token_endpoint"].(string); d.TokenName == "" {
		d.TokenName = d.Token
	}
	return d, nil
}

// mayBeAsked tells whether an endpoint of a document may be asked. Whoever can change its answers on their
// way can be anybody, so it is https where the document is.
func mayBeAsked(endpoint, document string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && !isHTTPS(document))
}

func (p *Provider) askKeys(ctx context.Context) ([]Key, error) {
	body, err := bodyOf(p.askEndpoint(ctx, func(d *Document) string { return d.JWKS }, func(ctx context.Context, d *Document) (*web.Answer, error) {
		return p.do(ctx, http.MethodGet, d.JWKS, nil, nil)
	}))
	if err != nil {
		return nil, fmt.Errorf("get the provider's keys: %w", err)
	}
	keys, odd, err := parseKeys(body)
	p.odd.report(p.log, odd)
	return keys, err
}

// UserInfo asks for the claims of a person (OpenID Connect Core 1.0, section 5.3).
func (p *Provider) UserInfo(ctx context.Context, accessToken, subject string) (map[string]any, error) {
	body, err := bodyOf(p.askEndpoint(ctx, func(d *Document) string { return d.UserInfo }, func(ctx context.Context, d *Document) (*web.Answer, error) {
		if d.UserInfo == "" {
			return nil, unavailable("the provider has no userinfo endpoint")
		}
		return p.do(ctx, http.MethodGet, d.UserInfo, nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+accessToken) })
	}))
	if err != nil {
		return nil, fmt.Errorf("get userinfo: %w", err)
	}
	claims, err := stored.Object(body)
	if err != nil {
		return nil, unavailable("get userinfo: the answer is not a JSON object")
	}
	// It may be another person's (section 5.3.2).
	if claims["sub"] != subject {
		return nil, errors.New("get userinfo: the answer is another person's")
	}
	return claims, nil
}

// object is a JSON object with exact names of members; nil when it is none.
func object(text []byte) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return nil
	}
	return members
}

// Ready tells whether tokens of the provider can be checked now: 0. If not, it tells how long to wait.
func (p *Provider) Ready(ctx context.Context) (wait time.Duration) {
	if _, err := p.find(ctx, ""); err == nil {
		return 0
	}
	return max(time.Until(p.nextTry()), 0) + firstRetry/2 + rand.N(firstRetry)
}
