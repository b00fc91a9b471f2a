package callout

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/server/callout/grant"
)

// A probe is a connection that a handler makes to see a real callout go through:
// its token is signed by the issuer, so that whichever handler of the queue group is asked
// knows it, and gets it a user that may do nothing, for some seconds.
const (
	probePrefix   = "stamp-probe."
	probeLifetime = 30 * time.Second
	probeEvery    = 5 * time.Second // at most
)

// prober keeps the outcome of the last probe.
type prober struct {
	connect func(token string) (*nats.Conn, error)
	account string // of the handler's own connection

	mu   sync.Mutex
	at   time.Time
	last error
}

var errNotServing = errors.New("no callout handler serves yet")

// Ready tells whether a real callout goes through: nil, or why it does not. It
// makes a connection, but not more often than every five seconds.
func (h *Handler) Ready(ctx context.Context) error {
	p := h.prober.Load()
	if p == nil {
		return errNotServing
	}
	for _, source := range h.lookups() {
		if err := source.Able(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.at.IsZero() && time.Since(p.at) < probeEvery {
		return p.last
	}
	p.last = p.probe(h.cfg.keys.issuer)
	p.at = time.Now()
	return p.last
}

func (p *prober) probe(issuer nkeys.KeyPair) error {
	token, err := probeToken(issuer, time.Now())
	if err != nil {
		return err
	}
	nc, err := p.connect(token)
	if err != nil {
		return fmt.Errorf("probe: a connection that needs a callout was refused: %w", err)
	}
	nc.Close()
	return nil
}

func probeToken(issuer nkeys.KeyPair, now time.Time) (string, error) {
	payload := strconv.FormatInt(now.Add(probeLifetime).Unix(), 10) + "." + rand.Text()
	signature, err := issuer.Sign([]byte(probePrefix + payload))
	if err != nil {
		return "", fmt.Errorf("probe: %w", err)
	}
	return probePrefix + payload + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// isProbe tells whether the token is a probe's that is not over.
func isProbe(token string, issuer nkeys.KeyPair, now time.Time) bool {
	at := strings.LastIndexByte(token, '.')
	if !strings.HasPrefix(token, probePrefix) || at < len(probePrefix) {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil || issuer.Verify([]byte(token[:at]), signature) != nil {
		return false
	}
	expires, _, _ := strings.Cut(token[len(probePrefix):], ".")
	seconds, err := strconv.ParseInt(expires, 10, 64)
	return err == nil && now.Before(time.Unix(seconds, 0))
}

// probed answers a probe, and tells whether the callout was one.
func (h *Handler) probed(a arrival, r *request) bool {
	p := h.prober.Load()
	if p == nil || !isProbe(r.Credential.Value, h.cfg.keys.issuer, time.Now()) {
		return false
	}
	user := jwt.NewUserClaims(r.userNkey)
	user.Name = "stamp-probe"
	user.Permissions.Pub.Deny.Add(">")
	user.Permissions.Sub.Deny.Add(">")
	user.Expires = time.Now().Add(probeLifetime).Unix()
	token, err := h.cfg.keys.signOwn(user, p.account)
	h.respond(a, r, token, err)
	return true
}

// signOwn signs a user of the handler's own account.
func (k *keys) signOwn(user *jwt.UserClaims, account string) (string, error) {
	if len(k.accounts) == 0 {
		return k.sign(&grant.Result{Account: account, User: user}, user.Subject)
	}
	if account != public(k.issuer) {
		user.IssuerAccount = account
	}
	return user.Encode(k.issuer)
}

// accountOf asks the server for the account of a connection.
func accountOf(nc *nats.Conn) (string, error) {
	m, err := nc.Request("$SYS.REQ.USER.INFO", nil, 5*time.Second)
	if err != nil {
		return "", fmt.Errorf("ask for the account of the handler's connection: %w", err)
	}
	var info struct {
		Data struct {
			Account string `json:"account"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil || info.Data.Account == "" {
		return "", errors.New("ask for the account of the handler's connection: no account in the answer")
	}
	return info.Data.Account, nil
}

// UseProbe makes Ready work: connect makes a connection with that token, as a client would, to the
// server where callouts are sent in the account.
func (h *Handler) UseProbe(account string, connect func(token string) (*nats.Conn, error)) {
	h.prober.Store(&prober{connect: connect, account: account})
}
