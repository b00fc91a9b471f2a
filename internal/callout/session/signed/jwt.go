package signed

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/conf"
)

// JWTConfig is the block of a jwt source.
//
// The source checks the subject, times, networks and connection types of a user JWT.
// It ignores the permissions and limits, which grants give instead. It does not have
// the account JWT, so it knows neither revocations nor the template of a scoped
// signing key.
type JWTConfig struct {
	session.Settings
	// Issuers are public keys of accounts, or blocks {account, signing_keys}.
	Issuers []conf.Node `conf:"issuers,required"`
	Bearer  bool        `conf:"bearer"` // accept bearer JWTs, which need no signature of the nonce; default: true

	accounts map[string]string // public key of the account, by the key that signs for it
}

func parseJWT(n conf.Node, faults *conf.Faults) *JWTConfig {
	cfg := JWTConfig{Settings: session.Defaults(), Bearer: true, accounts: map[string]string{}}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	for _, item := range cfg.Issuers {
		if key, ok := item.Plain().(string); ok {
			cfg.add(item, key, key, faults)
			continue
		}
		var block struct {
			Account     string   `conf:"account,required"`
			SigningKeys []string `conf:"signing_keys"`
		}
		item.Decode(&block, faults)
		if block.Account == "" {
			continue
		}
		cfg.add(item.Get("account"), block.Account, block.Account, faults)
		for _, key := range block.SigningKeys {
			cfg.add(item.Get("signing_keys"), key, block.Account, faults)
		}
	}
	if len(cfg.Issuers) == 0 && !n.Get("issuers").IsZero() {
		faults.Add(n.Get("issuers"), "issuers: expected at least one account; found an empty list")
	}
	cfg.Issuers = nil
	return &cfg
}

func (c *JWTConfig) add(n conf.Node, key, account string, faults *conf.Faults) {
	if !nkeys.IsValidPublicAccountKey(key) {
		faults.Add(n, "issuers: expected the public key of an account (A...); found %s", conf.KindOfKey(key))
		return
	}
	if _, twice := c.accounts[key]; twice {
		faults.Add(n, "issuers: duplicate key %s", key)
	}
	c.accounts[key] = account
}

// Open returns the source.
func (c *JWTConfig) Open(context.Context, session.Env) (session.Source, error) {
	return jwtSource{c}, nil
}

type jwtSource struct{ cfg *JWTConfig }

// maxJWT is the maximum length of a user JWT in bytes.
const maxJWT = 64 << 10

// Accepts accepts user JWTs. The key is empty, because each connection signs another
// nonce.
func (jwtSource) Accepts(r *session.Request) (string, bool) {
	return "", r.Credential.Kind == session.JWT && r.Credential.Value != "" && len(r.Credential.Value) <= maxJWT
}

// Find verifies the JWT and the signature of the nonce. It makes the same checks as
// upstream for a user who connects with the JWT itself (auth.go).
func (s jwtSource) Find(_ context.Context, r *session.Request) (*session.Session, error) {
	if _, ok := s.Accepts(r); !ok {
		return nil, session.ErrUnknown
	}
	return s.cfg.find(r, time.Now())
}

// Close does nothing.
func (jwtSource) Close() error { return nil }

func (c *JWTConfig) find(r *session.Request, now time.Time) (*session.Session, error) {
	u, err := jwt.DecodeUserClaims(r.Credential.Value) // verifies the signature
	if err != nil || !c.issued(u) || !nkeys.IsValidPublicUserKey(u.Subject) {
		return nil, session.ErrUnknown
	}
	var faults jwt.ValidationResults
	u.Validate(&faults)
	if faults.IsBlocking(false) || u.NotBefore > now.Unix() || u.ProxyRequired {
		return nil, session.ErrUnknown
	}
	if u.BearerToken && !c.Bearer || !u.BearerToken && !r.Credential.SignedBy(u.Subject) {
		return nil, session.ErrUnknown
	}
	if !isInNetworks(u.Src, r.Host) || !isAllowedType(u.AllowedConnectionTypes, r) {
		return nil, session.ErrUnknown
	}
	ends, ok := isInTimes(u.Times, u.Locale, now)
	if !ok {
		return nil, session.ErrUnknown
	}
	if u.Expires != 0 {
		ends = stored.Earlier(ends, time.Unix(u.Expires, 0))
	}
	found := &session.Session{Data: c.data(u), Expires: ends, Key: u.Subject}
	if found.Ended(now) {
		return nil, session.ErrUnknown
	}
	return found, nil
}

// issued reports whether a listed key issued u, for the account that it signs for.
func (c *JWTConfig) issued(u *jwt.UserClaims) bool {
	account, ok := c.accounts[u.Issuer]
	if !ok {
		return false
	}
	if u.IssuerAccount == "" {
		return account == u.Issuer
	}
	return account == u.IssuerAccount
}

// data returns the content of the session of u.
func (c *JWTConfig) data(u *jwt.UserClaims) map[string]any {
	tags := make([]any, 0, len(u.Tags))
	for _, tag := range slices.Sorted(slices.Values(u.Tags)) {
		tags = append(tags, tag)
	}
	data := map[string]any{
		"sub": u.Subject, "name": u.Name, "tags": tags, "issuer": u.Issuer,
		"account": c.accounts[u.Issuer], "iat": float64(u.IssuedAt),
	}
	if u.Expires != 0 {
		data["exp"] = float64(u.Expires)
	}
	return data
}
