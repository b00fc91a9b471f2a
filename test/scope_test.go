package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
	"stamp/test/harness"
)

// The templates of a scope are filled in for the user, the account and their tags.
func TestScopedKey(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	acc.Claims.Tags.Add("region:eu")
	key := acc.ScopedKey(t, map[string]any{
		"A-Name": "{{name()}}", "B-Subject": "{{subject()}}", "C-Account": "{{account-name()}}", "D-Id": "{{account-subject()}}",
		"E-Role": "role {{tag(role)}}", "F-Region": []string{"x", "{{account-tag(region)}}"},
		"G-Api": map[string]any{"value": "1", "subjects": []string{"api.>"}},
	})
	bare := acc.ScopedKey(t, nil)
	s := harness.Start(t, op.Conf(t))
	sub := subscriber(t, s, acc.User(t, "sub", nil).Credential)
	sub.Sub("api.>", "2")
	tagged := func(uc *jwt.UserClaims) { uc.Tags.Add("role:admin", "role:ops", "other:x") }

	u := acc.UserBy(t, key, "alice", nil, harness.Scoped, tagged)
	lines := []string{
		"A-Name: alice", "B-Subject: " + harness.Public(t, u.Key), "C-Account: APP", "D-Id: " + acc.ID(),
		"E-Role: role admin", "E-Role: role ops", "F-Region: x", "F-Region: eu",
	}
	pub := harness.Client(t, s, u.Credential)
	expectStamp(t, pub, sub, lines...)
	pub.Pub("api.x", "payload")
	expectMsg(t, sub, "a message on api.x", block(append(lines, "G-Api: 1")...))

	t.Run("template without headers", func(t *testing.T) {
		expectStamp(t, harness.Client(t, s, acc.UserBy(t, bare, "bob", nil, harness.Scoped).Credential), sub)
	})
	for _, tc := range []struct {
		name, log string
		user      *harness.User
	}{
		{"missing tag", `header "E-Role".*tag\(role\)`, acc.UserBy(t, key, "alice", nil, harness.Scoped)},
		{"no name", `header "A-Name".*name\(\)`, acc.UserBy(t, key, "", nil, harness.Scoped, tagged)},
		{"own claim", "scoped signing key", acc.UserBy(t, key, "alice", header("X-User", "admin"), harness.Scoped, tagged)},
		{"own claim, template without headers", "scoped signing key", acc.UserBy(t, bare, "bob", header("X-User", "admin"), harness.Scoped)},
		{"own permissions", "scoped signing key", acc.UserBy(t, bare, "bob", &claim.Claim{Publish: []string{"*"}}, harness.Scoped)},
		{"line break in name", `header "A-Name".*control character`, acc.UserBy(t, key, "a\r\nX-User: admin", nil, harness.Scoped, tagged)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mark := s.Mark()
			expectRefused(t, s, tc.user.Credential)
			mark.WaitLog(t, "Headers Refused: .*"+tc.log)
		})
	}
}

// signingKeys changes the list of signing keys in an account's JWT.
func signingKeys(t *testing.T, op *harness.Operator, acc *harness.Account, edit func([]any) []any) string {
	t.Helper()
	return harness.Resign(t, acc.JWT(t), op.Key, func(payload map[string]any) {
		nats := payload["nats"].(map[string]any)
		nats["signing_keys"] = edit(nats["signing_keys"].([]any))
	})
}

// If a signing key is in the account JWT both with a scope and without one, the connection is refused: upstream uses the entry
// that comes last.
func TestSigningKeyStandsTwice(t *testing.T) {
	for name, twice := range map[string]func(scope any, key string) []any{
		"scope, plain": func(scope any, key string) []any { return []any{scope, key} },
		"plain, scope": func(scope any, key string) []any { return []any{key, scope} },
	} {
		t.Run(name, func(t *testing.T) {
			op := harness.NewOperator(t)
			acc := op.Account(t, "APP")
			key := acc.ScopedKey(t, map[string]any{"A": "template"})
			s := harness.Start(t, op.PushConf(t))
			acc.PushJWT(t, s, signingKeys(t, op, acc, func(keys []any) []any { return twice(keys[0], harness.Public(t, key)) }))
			for log, user := range map[string]*harness.User{
				"scoped signing key|is in the account JWT twice": acc.UserBy(t, key, "own", header("A", "mine"), harness.Scoped),
				"signing key is in the account JWT twice":        acc.UserBy(t, key, "none", nil, harness.Scoped),
			} {
				mark := s.Mark()
				expectRefused(t, s, user.Credential)
				mark.WaitLog(t, "Headers Refused: .*("+log+")")
			}
		})
	}
}

// If a misspelled key makes the templates of an account JWT lose their headers, the log names the account, once for all connections.
func TestMisspelledTemplateIsLogged(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	key := acc.ScopedKey(t, nil)
	s := harness.Start(t, op.PushConf(t))
	acc.PushJWT(t, s, signingKeys(t, op, acc, func(keys []any) []any {
		scope := keys[0].(map[string]any)
		scope["headers"] = map[string]any{"A": "SECRET"}
		scope["template"].(map[string]any)["Header_s"] = map[string]any{"A": "SECRET"}
		return keys
	}))
	for i := range 3 {
		harness.Client(t, s, acc.UserBy(t, key, fmt.Sprint("user", i), nil, harness.Scoped).Credential)
	}
	s.WaitLog(t, `JWT of account "`+acc.ID()+`" has unknown keys, which are ignored; .*"headers", "Header_s"`)
	if n := strings.Count(s.Text(), "unknown keys, which are ignored"); n != 1 || strings.Contains(s.Text(), "SECRET") {
		t.Errorf("expected one warning without values; the log has %d", n)
	}
}
