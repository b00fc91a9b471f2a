package openid

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/conf"
)

// mover is a provider whose endpoints move from the path /old to /new.
type mover struct {
	t     *testing.T
	moved bool
	gone  int // what /old answers since; 0: there is no connection
	asked map[string]int
}

const moverURL = "https://login.test"

func (m *mover) RoundTrip(r *http.Request) (*http.Response, error) {
	m.asked[r.URL.Path]++
	at := "/old"
	if m.moved {
		at = "/new"
	}
	if r.URL.Path == "/.well-known/openid-configuration" {
		return m.json(http.StatusOK, map[string]any{
			"issuer": moverURL, "authorization_endpoint": moverURL + at + "/authorize", "token_endpoint": moverURL + at + "/token",
			"jwks_uri": moverURL + at + "/keys", "userinfo_endpoint": moverURL + at + "/userinfo",
		}), nil
	}
	here, name := strings.HasPrefix(r.URL.Path, at+"/"), r.URL.Path[strings.LastIndexByte(r.URL.Path, '/'):]
	switch {
	case !here && m.gone == 0:
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	case !here:
		return m.json(m.gone, map[string]any{}), nil
	case name == "/token":
		return m.json(http.StatusOK, map[string]any{"access_token": "a", "expires_in": 60}), nil
	case name == "/keys":
		key := newKey(m.t, "k")
		return m.json(http.StatusOK, map[string]any{"keys": []jose.JSONWebKey{key.Public()}}), nil
	}
	return m.json(http.StatusOK, map[string]any{"sub": "alice"}), nil
}

func (m *mover) json(status int, v any) *http.Response {
	text, err := json.Marshal(v)
	if err != nil {
		m.t.Fatal(err)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(text)))}
}

// openMover makes a provider whose requests go to a mover.
func openMover(t *testing.T, m *mover, endpoints Endpoints) *Provider {
	t.Helper()
	m.t, m.asked = t, map[string]int{}
	c := Defaults()
	c.Issuer, c.LogsIn, c.Endpoints = moverURL, true, endpoints
	var faults conf.Faults
	c.Check(conf.Node{}, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	c.client.HTTP().Transport = m
	p := c.Open(t.Context(), slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	synctest.Wait()
	return p
}

// If a provider moves its endpoints, requests follow its document within seconds, and not only when the document is next read
// by schedule.
func TestEndpointsThatMove(t *testing.T) {
	client, err := clientOf(t, Client{ClientID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(*testing.T, *Provider) error{
		"a code": func(t *testing.T, p *Provider) error {
			_, err := p.Exchange(t.Context(), client, "c", "v", "u")
			return err
		},
		"a refresh":     func(t *testing.T, p *Provider) error { _, err := p.Refresh(t.Context(), client, "r"); return err },
		"userinfo":      func(t *testing.T, p *Provider) error { _, err := p.UserInfo(t.Context(), "a", "alice"); return err },
		"a key unknown": func(t *testing.T, p *Provider) error { return p.keys.refresh(t.Context()) },
	} {
		for _, gone := range []int{0, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusMovedPermanently, http.StatusPermanentRedirect} {
			synctest.Test(t, func(t *testing.T) {
				m := &mover{gone: gone}
				p := openMover(t, m, Endpoints{})
				if err := ask(t, p); err != nil {
					t.Fatalf("%s: the request before the move failed: %v", name, err)
				}
				m.moved = true
				time.Sleep(2 * pause)
				if err := ask(t, p); err != nil {
					t.Errorf("%s: after the move, when the old endpoint answers %d: %v", name, gone, err)
				}
			})
		}
	}
}

// If an endpoint is gone, the document is read again now and then, however many requests fail. An endpoint in the configuration
// is never looked up in the document.
func TestMovedEndpointsAreLookedForRarely(t *testing.T) {
	client, err := clientOf(t, Client{ClientID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	const document = "/.well-known/openid-configuration"
	for _, codes := range []int{100, 200, 400} {
		synctest.Test(t, func(t *testing.T) {
			m := &mover{gone: http.StatusNotFound}
			p := openMover(t, m, Endpoints{UserInfo: moverURL + "/nowhere"})
			before := m.asked[document]
			for range codes {
				if _, err := p.UserInfo(t.Context(), "a", "alice"); err == nil {
					t.Fatal("an endpoint that does not exist gave an answer")
				}
				time.Sleep(time.Minute / time.Duration(codes))
			}
			if n := m.asked[document] - before; n > int(time.Minute/pause)+1 {
				t.Errorf("%d requests to a missing endpoint: the document was read %d times in a minute", codes, n)
			}
			if n := m.asked["/nowhere"]; n != codes {
				t.Errorf("%d requests were made, and %d were sent to the endpoint", codes, n)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		m := &mover{gone: http.StatusNotFound, moved: true}
		p := openMover(t, m, Endpoints{Authorization: moverURL + "/a", Token: moverURL + "/old/token", JWKS: moverURL + "/new/keys"})
		if _, err := p.Refresh(t.Context(), client, "r"); err == nil || m.asked[document] != 0 {
			t.Errorf("with all endpoints configured, expected the old endpoint's error, and the document unread; found error %v, read %d times", err, m.asked[document])
		}
	})
}
