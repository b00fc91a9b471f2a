package harness

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
)

// Operator is an operator with a system account.
type Operator struct {
	Key nkeys.KeyPair
	Sys *Account

	jwt      string
	accounts []*Account
}

// Account is an account of an operator. Claims may be changed at any time: JWT
// writes them anew.
type Account struct {
	Name   string
	Key    nkeys.KeyPair
	Claims *jwt.AccountClaims

	operator *Operator
	headers  map[string]any // headers of scope templates by signing key
}

// User is a user with a JWT.
type User struct {
	Key nkeys.KeyPair
	JWT string
}

// NewOperator makes an operator and its system account.
func NewOperator(t testing.TB) *Operator {
	t.Helper()
	o := &Operator{Key: must(nkeys.CreateOperator())(t)}
	oc := jwt.NewOperatorClaims(Public(t, o.Key))
	oc.Name = "operator"
	o.Sys = o.Account(t, "SYS")
	oc.SystemAccount = o.Sys.ID()
	o.jwt = must(oc.Encode(o.Key))(t)
	return o
}

// Account makes an account without limits. A JetStream tier is added by changing
// its Claims.
func (o *Operator) Account(t testing.TB, name string) *Account {
	t.Helper()
	a := &Account{Name: name, Key: must(nkeys.CreateAccount())(t), operator: o, headers: map[string]any{}}
	a.Claims = jwt.NewAccountClaims(Public(t, a.Key))
	a.Claims.Name = name
	o.accounts = append(o.accounts, a)
	return a
}

// Conf is the configuration of a server that knows the operator and all accounts
// (resolver MEMORY).
func (o *Operator) Conf(t testing.TB) string {
	t.Helper()
	return o.conf(t, "MEMORY")
}

// PushConf is Conf with a resolver that takes updates: see Push.
func (o *Operator) PushConf(t testing.TB) string {
	t.Helper()
	return o.conf(t, fmt.Sprintf("{type: full, dir: %q, allow_delete: true}", t.TempDir()))
}

func (o *Operator) conf(t testing.TB, resolver string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "operator: %s\nsystem_account: %s\nresolver: %s\nresolver_preload: {\n", o.jwt, o.Sys.ID(), resolver)
	for _, a := range o.accounts {
		fmt.Fprintf(&b, "  %s: %s\n", a.ID(), a.JWT(t))
	}
	b.WriteString("}\n")
	return b.String()
}

// Push gives the server (started with PushConf) the account as it is now.
func (a *Account) Push(t testing.TB, s *Server) {
	t.Helper()
	a.PushJWT(t, s, a.JWT(t))
}

// PushJWT is Push of a JWT that was changed: see Resign.
func (a *Account) PushJWT(t testing.TB, s *Server, token string) {
	t.Helper()
	nc := s.Connect(t, a.operator.Sys.User(t, "pusher", nil).Options()...)
	defer nc.Close()
	resp, err := nc.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(token), Timeout)
	if err != nil {
		t.Fatalf("no answer to the push of account %s: %v", a.Name, err)
	}
	if !bytes.Contains(resp.Data, []byte(`"code":200`)) {
		t.Fatalf("the server refused the push of account %s: %s", a.Name, resp.Data)
	}
}

// ID is the account's public key.
func (a *Account) ID() string { return a.Claims.Subject }

// JWT is the account's JWT, with the headers of its scopes' templates.
func (a *Account) JWT(t testing.TB) string {
	t.Helper()
	token := must(a.Claims.Encode(a.operator.Key))(t)
	if len(a.headers) == 0 {
		return token
	}
	return Resign(t, token, a.operator.Key, func(payload map[string]any) {
		for _, k := range payload["nats"].(map[string]any)["signing_keys"].([]any) {
			scope, ok := k.(map[string]any)
			if !ok {
				continue
			}
			if h, ok := a.headers[scope["key"].(string)]; ok {
				scope["template"].(map[string]any)["headers"] = h
			}
		}
	})
}

// SigningKey adds a signing key without a scope.
func (a *Account) SigningKey(t testing.TB) nkeys.KeyPair {
	t.Helper()
	key := must(nkeys.CreateAccount())(t)
	a.Claims.SigningKeys.Add(Public(t, key))
	return key
}

// ScopedKey adds a signing key with a scope that allows everything, and the given
// headers in its template; nil for none.
func (a *Account) ScopedKey(t testing.TB, headers any) nkeys.KeyPair {
	t.Helper()
	key := must(nkeys.CreateAccount())(t)
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = Public(t, key), "role"
	a.Claims.SigningKeys.AddScopedSigner(scope)
	a.ScopeHeaders(t, key, headers)
	return key
}

// ScopeHeaders changes the headers in the template of a scoped key.
func (a *Account) ScopeHeaders(t testing.TB, key nkeys.KeyPair, headers any) {
	t.Helper()
	if headers == nil {
		delete(a.headers, Public(t, key))
		return
	}
	a.headers[Public(t, key)] = headers
}

// User makes a user, signed by the account's key, with a headers claim or nil.
func (a *Account) User(t testing.TB, name string, c *claim.Claim, edit ...func(*jwt.UserClaims)) *User {
	t.Helper()
	return a.UserBy(t, a.Key, name, c, edit...)
}

// UserBy makes a user that one of the account's signing keys signs. For a scoped
// key an edit must clear the limits: see Scoped.
func (a *Account) UserBy(t testing.TB, key nkeys.KeyPair, name string, c *claim.Claim, edit ...func(*jwt.UserClaims)) *User {
	t.Helper()
	u := &User{Key: must(nkeys.CreateUser())(t)}
	uc := jwt.NewUserClaims(Public(t, u.Key))
	uc.Name = name
	if Public(t, key) != a.ID() {
		uc.IssuerAccount = a.ID()
	}
	for _, e := range edit {
		e(uc)
	}
	u.JWT = must(claim.Encode(uc, c, key))(t)
	return u
}

// UserOf makes a user of an account that has a key and no operator.
func (a *Account) UserOf(t testing.TB, name string) *User {
	t.Helper()
	u := &User{Key: NewUserKey(t)}
	uc := jwt.NewUserClaims(Public(t, u.Key))
	uc.Name = name
	u.JWT = must(uc.Encode(a.Key))(t)
	return u
}

// NewUserKey makes a user key.
func NewUserKey(t testing.TB) nkeys.KeyPair {
	t.Helper()
	return must(nkeys.CreateUser())(t)
}

// NkeyCredential logs in with a key alone.
func NkeyCredential(key nkeys.KeyPair) Credential {
	return func(nonce string) map[string]any {
		sig, err := key.Sign([]byte(nonce))
		public, err2 := key.PublicKey()
		if err != nil || err2 != nil {
			panic("harness: a key made here can sign")
		}
		return map[string]any{"nkey": public, "sig": base64.RawURLEncoding.EncodeToString(sig)}
	}
}

// Scoped clears what a user of a scoped key must not have.
func Scoped(uc *jwt.UserClaims) { uc.UserPermissionLimits = jwt.UserPermissionLimits{} }

// Bearer makes a user that needs no nonce.
func Bearer(uc *jwt.UserClaims) { uc.BearerToken = true }

// Credential logs in with the JWT and the nonce.
func (u *User) Credential(nonce string) map[string]any {
	sig, err := u.Key.Sign([]byte(nonce))
	if err != nil {
		panic(err) // a key made here can sign
	}
	return map[string]any{"jwt": u.JWT, "sig": base64.RawURLEncoding.EncodeToString(sig)}
}

// Options makes nats.go log in as the user.
func (u *User) Options() []nats.Option {
	return []nats.Option{nats.UserJWT(
		func() (string, error) { return u.JWT, nil },
		func(nonce []byte) ([]byte, error) { return u.Key.Sign(nonce) },
	)}
}

// Creds writes a credentials file and returns its name.
func (u *User) Creds(t testing.TB) string {
	t.Helper()
	seed := must(u.Key.Seed())(t)
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, must(jwt.FormatUserConfig(u.JWT, seed))(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Resign returns the JWT token with its payload changed, signed anew by key: for
// claims that no library would write.
func Resign(t testing.TB, token string, key nkeys.KeyPair, edit func(payload map[string]any)) string {
	t.Helper()
	parts := strings.Split(token, ".")
	dec := json.NewDecoder(base64.NewDecoder(base64.RawURLEncoding, strings.NewReader(parts[1])))
	dec.UseNumber()
	var payload map[string]any
	if err := dec.Decode(&payload); err != nil {
		t.Fatalf("cannot read the payload of the JWT: %v", err)
	}
	edit(payload)
	text := parts[0] + "." + base64.RawURLEncoding.EncodeToString(must(json.Marshal(payload))(t))
	sig := must(key.Sign([]byte(text)))(t)
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// Expires is an edit that lets a user JWT expire.
func Expires(at time.Time) func(*jwt.UserClaims) {
	return func(uc *jwt.UserClaims) { uc.Expires = at.Unix() }
}

// Public is the public key.
func Public(t testing.TB, key nkeys.KeyPair) string {
	t.Helper()
	return must(key.PublicKey())(t)
}

// Seed is the seed.
func Seed(t testing.TB, key nkeys.KeyPair) string {
	t.Helper()
	return string(must(key.Seed())(t))
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
