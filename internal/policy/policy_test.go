package policy

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"stamp.example/claim"
	"stamp.example/claim/field"
	"stamp/internal/stamp"
)

// token returns a JWT without a valid signature. The server verifies signatures, the package does not.
func token(payload string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + enc([]byte(payload)) + ".c2ln"
}

func user(headers string) string {
	return token(`{"nats":{"type":"user","headers":` + headers + `}}`)
}

func account(template string) string {
	return token(`{"nats":{"signing_keys":[{"kind":"user_scope","key":"AK","template":{"headers":` + template + `}}]}}`)
}

func configured(name, value string) *claim.Claim {
	return &claim.Claim{Headers: []claim.Header{{Name: name, Values: []string{value}}}}
}

func granted(r *Rules, c Conn) (*stamp.Stamp, error) {
	g, err := r.GrantFor(c)
	if err != nil {
		return nil, err
	}
	return g.Stamp, nil
}

// lines returns what s puts on a message without a header block.
func lines(t *testing.T, s *stamp.Stamp) string {
	t.Helper()
	if s == nil {
		return ""
	}
	b, err := s.Append(nil, []byte("foo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimPrefix(strings.TrimSuffix(string(b), "\r\n\r\n"), "NATS/1.0\r\n"), "\r\n", "|")
}

func TestStamp(t *testing.T) {
	vars := Vars{
		Name: "alice", Subject: "UX", AccountName: "app", AccountSubject: "AX",
		Tags: []string{"role:admin", "role:ops", "team:blue"}, AccountTags: []string{"zone:eu"},
	}
	scoped := func(jwt, template string) Conn {
		return Conn{UserJWT: jwt, Scoped: true, SigningKey: "AK", AccountJWT: account(template), Vars: vars}
	}
	plain := token(`{"nats":{"type":"user"}}`)
	tests := []struct {
		name string
		conn Conn
		want string
		err  error
	}{
		{"nothing known", Conn{}, "", nil},
		{"configured user", Conn{User: configured("A", "x")}, "A: x", nil},
		{"configured user, too large", Conn{User: configured("A", strings.Repeat("x", 17000))}, "", claim.ErrTooManyBytes},
		{"user JWT", Conn{UserJWT: user(`{"A":"x","B":["y","z"]}`)}, "A: x|B: y|B: z", nil},
		{"user JWT without claim", Conn{UserJWT: plain}, "", nil},
		{"user JWT wins over configuration", Conn{UserJWT: plain, User: configured("A", "x")}, "", nil},
		{"templates are text in a user JWT", Conn{UserJWT: user(`{"A":"{{name()}}"}`), Vars: vars}, "A: {{name()}}", nil},
		{"invalid claim", Conn{UserJWT: user(`{"Nats-Msg-Id":"x"}`)}, "", field.ErrNameReserved},
		{"system account", Conn{System: true, UserJWT: user(`{"A":"x"}`)}, "", ErrSystemAccount},
		{"system account, configured", Conn{System: true, User: configured("A", "x")}, "", ErrSystemAccount},
		{"system account without claim", Conn{System: true, UserJWT: plain}, "", nil},
		{"template of a configured user", Conn{User: configured("A", "{{name()}} {{client-ip()}}"), Vars: Vars{Name: "bob", ClientIP: "192.0.2.1"}}, "A: bob 192.0.2.1", nil},
		{"template of a configured user, no value", Conn{User: configured("A", "{{tls-subject()}}")}, "", ErrTemplateEmpty},
		{"permissions alone", Conn{User: &claim.Claim{Publish: []string{"A"}}}, "", nil},

		{"scope", scoped(plain, `{"A":"x"}`), "A: x", nil},
		{"scope without headers", scoped(plain, `{}`), "", nil},
		{"claim under a scope", scoped(user(`{"A":"x"}`), `{"A":"x"}`), "", ErrScoped},
		{"claim under a scope without headers", scoped(user(`{"A":"x"}`), `{}`), "", ErrScoped},
		{"permissions under a scope", scoped(token(`{"nats":{"header_permissions":{"publish":{"allow":["A"]}}}}`), `{}`), "", ErrScoped},
		{"broken claim under a scope", scoped(user(`{"A":1}`), `{}`), "", claim.ErrValueForm},
		{"functions", scoped(plain, `{"A":"{{name()}} {{ subject() }}","B":"{{account-name()}}/{{account-subject()}}"}`), "A: alice UX|B: app/AX", nil},
		{"tags", scoped(plain, `{"A":"{{tag(role)}}","B":"{{account-tag(zone)}}"}`), "A: admin|A: ops|B: eu", nil},
		{"tags multiply", scoped(plain, `{"A":"{{tag(role)}}-{{tag(role)}}"}`), "A: admin-admin|A: admin-ops|A: ops-admin|A: ops-ops", nil},
		{"case of functions", scoped(plain, `{"A":"{{NAME()}}{{Tag(TEAM)}}"}`), "A: aliceblue", nil},
		{"missing tag", scoped(plain, `{"A":"{{tag(none)}}"}`), "", ErrTemplateEmpty},
		{"unknown function", scoped(plain, `{"A":"{{secret()}}"}`), "", ErrTemplateFunction},
		{"no function", scoped(plain, `{"A":"{{name}}"}`), "", ErrTemplateFunction},
		{"argument where none belongs", scoped(plain, `{"A":"{{name(x)}}"}`), "", ErrTemplateFunction},
		{"tag without a name", scoped(plain, `{"A":"{{tag()}}"}`), "", ErrTemplateFunction},
		{"template in subjects", scoped(plain, `{"A":{"value":"x","subjects":["a.{{name()}}"]}}`), "", ErrTemplateSubject},
		{"scope of a key that is a plain one too", Conn{UserJWT: plain, SigningKey: "AK", AccountJWT: account(`{"A":"x"}`), Vars: vars}, "", claim.ErrSigningKey},
		{"the same with a claim", Conn{UserJWT: user(`{"A":"x"}`), SigningKey: "AK", AccountJWT: account(`{"A":"x"}`), Vars: vars}, "", claim.ErrSigningKey},
		{"plain key beside a scope", Conn{UserJWT: user(`{"A":"x"}`), SigningKey: "AZ", AccountJWT: account(`{"A":1}`), Vars: vars}, "A: x", nil},
		{"too many lines", scoped(plain, `{"A":"`+strings.Repeat("{{tag(role)}}", 7)+`"}`), "", ErrTemplateLines},
		{"broken template", scoped(plain, `{"A":1}`), "", claim.ErrValueForm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := granted(nil, tt.conn)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("found error %v, want %v", err, tt.err)
			}
			if got := lines(t, s); got != tt.want {
				t.Errorf("the stamped lines are %q, want %q", got, tt.want)
			}
		})
	}
}

// The name of a user need not be a valid header value.
func TestTemplateResultIsChecked(t *testing.T) {
	for _, name := range []string{"a\r\nB: c", "a\nb", "\u00a0a", "a\x00", strings.Repeat("x", 17000)} {
		c := Conn{
			UserJWT: token(`{"nats":{}}`), Scoped: true, SigningKey: "AK",
			AccountJWT: account(`{"A":"{{name()}}"}`), Vars: Vars{Name: name},
		}
		if s, err := granted(nil, c); err == nil {
			t.Errorf("name of %d bytes made a stamp of %d bytes", len(name), s.MaxLen())
		}
	}
	c := Conn{UserJWT: token(`{"nats":{}}`), Scoped: true, SigningKey: "AK", AccountJWT: account(`{"A":"{{name()}}"}`)}
	if _, err := granted(nil, c); !errors.Is(err, ErrTemplateEmpty) {
		t.Errorf("user without a name: error %v", err)
	}
}

func TestLimits(t *testing.T) {
	r := &Rules{Limits: claim.Limits{MaxHeaders: 1}}
	for name, c := range map[string]Conn{
		"JWT": {UserJWT: user(`{"A":"x","B":"y"}`)},
		"configuration": {User: &claim.Claim{Headers: []claim.Header{
			{Name: "A", Values: []string{"x"}}, {Name: "B", Values: []string{"y"}},
		}}},
		"scope": {UserJWT: token(`{}`), Scoped: true, SigningKey: "AK", AccountJWT: account(`{"A":"x","B":"y"}`)},
	} {
		if _, err := granted(r, c); !errors.Is(err, claim.ErrTooManyHeaders) {
			t.Errorf("limits in %s: found error %v, want %v", name, err, claim.ErrTooManyHeaders)
		}
	}
}

func TestScopeChanged(t *testing.T) {
	a, b := account(`{"A":"x"}`), account(`{"A":"y"}`)
	other := token(`{"iat":1,"nats":{"signing_keys":[{"key":"AK","template":{"headers":{"A":"x"}}}]}}`)
	tests := []struct {
		name, before, after string
		want                bool
	}{
		{"same", a, a, false},
		{"another field", a, other, false},
		{"value", a, b, true},
		{"added", account(`{}`), a, true},
		{"removed", a, account(`{}`), true},
		{"broken", a, account(`{"A":1}`), true},
		{"above the default limits", account(`{"A":"` + strings.Repeat("x", 20000) + `"}`), account(`{"A":"` + strings.Repeat("x", 20000) + `"}`), false},
	}
	for _, tt := range tests {
		if got := ScopeChanged(tt.before, tt.after, "AK"); got != tt.want {
			t.Errorf("%s: ScopeChanged = %t, want %t", tt.name, got, tt.want)
		}
		if ScopeChanged(tt.before, tt.after, "AZ") {
			t.Errorf("%s: ScopeChanged is true for another signing key", tt.name)
		}
	}
}
