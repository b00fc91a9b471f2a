package callout

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/grant"
)

// A probe is a connection that a handler makes to see that a real callout works. Its token is
// signed by the issuer. So whichever handler of the queue group gets the callout recognizes the
// probe, and answers with a user that may do nothing and ends after some seconds. There is a probe
// for the handler's own account, and one for each account that grants name, because each may have a
// signing key of its own.
const (
	probePrefix   = "stamp-probe."
	probeLifetime = 30 * time.Second
	probeEvery    = 5 * time.Second // at most this often
	// accountEvery is how often an account is probed that worked the last time. Whoever watches the
	// account sees the connections of probes.
	accountEvery = 5 * time.Minute
	// probedAtOnce is how many accounts are probed each time.
	probedAtOnce = 16
)

// prober keeps the result of the last probe.
type prober struct {
	connect  func(token string) (*nats.Conn, error)
	account  string          // account of the handler's connection
	accounts map[string]bool // accounts that grants name; true: a scoped key signs their users

	mu    sync.Mutex // not held during calls
	at    time.Time  // when the last probe ended; zero: there was none
	last  error
	under chan struct{} // closed when the running probe ends; nil: none is running

	// These belong to the running probe.
	well   map[string]time.Time // when an account last worked
	faults map[string]error     // why an account does not work

	own      atomic.Pointer[string] // token of the probe of the handler's own account
	answered atomic.Pointer[answer] // the last answer of this handler to that probe
}

// answer is an answer to a probe.
type answer struct {
	token string
	soon  time.Duration // after this time the server had the answer; a refusal that comes as soon is for the answer, and not because it was late
}

// isOwn reports whether a token is that of this handler's own probe.
func (p *prober) isOwn(token string) bool {
	own := p.own.Load()
	return own != nil && *own == token
}

var errNotServing = errors.New("no callout handler serves yet")

// CheckReady returns nil if a real callout works, or why it does not. It connects for that, at most
// every five seconds. A call during a probe waits for that probe, at most until ctx ends.
func (h *Handler) CheckReady(ctx context.Context) error {
	p := h.prober.Load()
	if p == nil {
		return errNotServing
	}
	if reason := h.cannotJudge(); reason != nil {
		return fmt.Errorf("cannot judge: %w", reason)
	}
	for _, source := range h.lookups() {
		if err := source.WatchError(); err != nil {
			return err
		}
	}
	under := p.begin(h)
	if under == nil {
		return h.explained(p.outcome())
	}
	select {
	case <-under:
		return h.explained(p.outcome())
	case <-ctx.Done():
		return fmt.Errorf("probe: a connection that needs a callout has no answer yet: %w", context.Cause(ctx))
	}
}

// explained adds to the result of a probe what the handler knows of its answers. Another handler
// may have answered the probe.
func (h *Handler) explained(err error) error {
	fault := h.accepted.fault()
	switch {
	case fault == nil || err != nil && strings.Contains(err.Error(), fault.Error()):
		return err
	case err == nil:
		return fmt.Errorf("%w: %w", errKeysDiffer, fault)
	}
	return fmt.Errorf("%w; %w: %w", err, errKeysDiffer, fault)
}

// begin starts a probe. It returns nil if the last result is recent enough.
func (p *prober) begin(h *Handler) (under <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.under == nil && !p.at.IsZero() && time.Since(p.at) < probeEvery {
		return nil
	}
	if p.under == nil {
		p.under = make(chan struct{})
		go p.run(h)
	}
	return p.under
}

func (p *prober) run(h *Handler) {
	err := errFault
	h.guard(func() { err = p.probe(h) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.last = time.Now(), err
	close(p.under)
	p.under = nil
}

func (p *prober) outcome() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// probe probes the handler's own account and some of the accounts that grants name.
func (p *prober) probe(h *Handler) error {
	if err := p.ask(h, ""); errors.Is(err, ErrServerFull) {
		return err
	} else if err != nil {
		return fmt.Errorf("probe: this handler opened a connection that only a handler can let in, and the server refused it: %w%s", err, advice(err, h.advice()))
	}
	now, probed := time.Now(), 0
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(p.accounts)) {
		if now.Sub(p.well[name]) >= accountEvery && probed < probedAtOnce {
			probed++
			delete(p.faults, name)
			if err := p.ask(h, name); errors.Is(err, ErrServerFull) {
				return err
			} else if err != nil {
				p.faults[name] = fmt.Errorf("probe: a connection that was granted account %s was refused by the server: %w%s", name, err, advice(err, h.adviceFor(name)))
			} else {
				p.well[name] = now
			}
		}
		if err := p.faults[name]; err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ask makes a connection that the callout puts into an account. An empty account is the handler's
// own.
func (p *prober) ask(h *Handler, account string) error {
	token, err := probeToken(h.cfg.keys.issuer, account, time.Now())
	if err != nil {
		return err
	}
	if account == "" {
		p.own.Store(&token)
	}
	begun := time.Now()
	if err = p.try(token); isFullAccount(err) {
		err = nil // it was authenticated, and the account was full
	}
	if a := p.answered.Load(); account == "" && a != nil && a.token == token && (err == nil || isRefusal(err) && time.Since(begun) < a.soon) {
		h.accepted.probe(ownRefusal(err))
	}
	return err
}

// Retries of a probe if the server is full: a connection of the last probe that was just closed may
// still count.
const (
	fullAttempts = 3
	fullPause    = 100 * time.Millisecond
)

// try makes and closes the connection of a probe.
func (p *prober) try(token string) error {
	for attempt := 1; ; attempt++ {
		nc, err := p.connect(token)
		switch {
		case err == nil:
			nc.Close()
			return nil
		case !isFull(err):
			return err
		case attempt == fullAttempts:
			return ErrServerFull
		}
		time.Sleep(fullPause)
	}
}

// ownRefusal says more about a refused probe that this handler had accepted.
func ownRefusal(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("a server refused a connection that this handler had let in: %w; is issuer the key of the account that has the callout, or one of its signing keys?", err)
}

// advice returns text if a server was there and refused.
func advice(err error, text string) string {
	if isRefusal(err) {
		return text
	}
	return ""
}

// advice says what to check if no callout works.
func (h *Handler) advice() string {
	if expects := h.expected.Load(); expects != nil {
		return "; " + wrongIssuer(*expects, h.cfg.keys.answers()).Error()
	}
	if len(h.cfg.keys.accounts) > 0 {
		return "; is the user of connect in auth_users of the account's JWT, and are the credentials of connect.sentinel those of a user of that account?"
	}
	return "; is the user of connect in auth_users, and is its account that of auth_callout?"
}

// adviceFor says what to check if an account accepts no users of the handler.
func (h *Handler) adviceFor(account string) string {
	if len(h.cfg.keys.accounts) == 0 {
		return "; does the server's configuration have the account, and does allowed_accounts list it?"
	}
	return fmt.Sprintf("; is the seed of signing_keys.%s a signing key of the account, and is the account in allowed_accounts?", account)
}

// wrongIssuer says why a server accepts no answer of the handler. The keys are public.
func wrongIssuer(expects, answers string) error {
	return fmt.Errorf("the server takes answers of %s (auth_callout.issuer, or the account that has the callout), and the handler's are from %s (the public key of issuer, or issuer_account)", expects, answers)
}

// checkIssuer returns an error if the server would not accept an answer of the handler.
func (h *Handler) checkIssuer(r *request) error {
	if r.expects == "" || r.expects == h.cfg.keys.answers() {
		h.expected.Store(nil)
		h.accepted.request(nil, time.Now())
		return nil
	}
	h.expected.Store(&r.expects)
	err := wrongIssuer(r.expects, h.cfg.keys.answers())
	h.accepted.request(err, time.Now())
	return err
}

func probeToken(issuer nkeys.KeyPair, account string, now time.Time) (string, error) {
	payload := strconv.FormatInt(now.Add(probeLifetime).Unix(), 10) + "." + base64.RawURLEncoding.EncodeToString([]byte(account)) + "." + rand.Text()
	signature, err := issuer.Sign([]byte(probePrefix + payload))
	if err != nil {
		return "", fmt.Errorf("probe: %w", err)
	}
	return probePrefix + payload + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// isProbe reports whether a token belongs to a probe that has not expired, and returns the account
// of the probe.
func isProbe(token string, issuer nkeys.KeyPair, now time.Time) (account string, ok bool) {
	at := strings.LastIndexByte(token, '.')
	if !strings.HasPrefix(token, probePrefix) || at < len(probePrefix) {
		return "", false
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil || issuer.Verify([]byte(token[:at]), signature) != nil {
		return "", false
	}
	fields := strings.Split(token[len(probePrefix):at], ".")
	if len(fields) != 3 {
		return "", false
	}
	seconds, err := strconv.ParseInt(fields[0], 10, 64)
	name, decoding := base64.RawURLEncoding.DecodeString(fields[1])
	return string(name), err == nil && decoding == nil && now.Before(time.Unix(seconds, 0))
}

// probed answers a probe. It reports whether the callout was one.
func (h *Handler) probed(a *arrival, r *request) bool {
	p := h.prober.Load()
	if p == nil {
		return false
	}
	account, ok := isProbe(r.Credential.Value, h.cfg.keys.issuer, time.Now())
	if !ok {
		return false
	}
	user := jwt.NewUserClaims(r.userNkey)
	user.Name = "stamp-probe"
	user.Expires = time.Now().Add(probeLifetime).Unix()
	scoped := p.accounts[account]
	if scoped { // its scope decides what it may do
		user.UserPermissionLimits = jwt.UserPermissionLimits{}
	} else {
		user.Permissions.Pub.Deny.Add(">")
		user.Permissions.Sub.Deny.Add(">")
	}
	var token string
	var err error
	if account == "" {
		token, err = h.cfg.keys.signOwn(user, p.account)
	} else {
		token, err = h.cfg.keys.sign(&grant.Result{Grant: "of the probe", Account: account, User: user}, user.Subject)
	}
	if err == nil && p.isOwn(r.Credential.Value) {
		p.answered.Store(&answer{r.Credential.Value, r.patience / 2})
	}
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
func accountOf(ctx context.Context, nc *nats.Conn) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
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

// UseProbe makes CheckReady work. connect connects with a token as a client would, to the server that
// sends callouts in the account.
func (h *Handler) UseProbe(account string, connect func(token string) (*nats.Conn, error)) {
	h.prober.Store(&prober{
		connect: connect, account: account, accounts: h.cfg.grants.Accounts(h.cfg.listedAccounts()),
		well: map[string]time.Time{}, faults: map[string]error{},
	})
}
