package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/test/harness"
)

const examples = "../docs/examples"

// TestClaimIssuers runs the issuers that docs/claim.md shows, in each language. Each prints a
// user JWT that upstream verifies and that has the claim.
func TestClaimIssuers(t *testing.T) {
	want := &claim.Claim{
		Headers: []claim.Header{
			{Name: "Session", Values: []string{"0af3c1"}},
			{Name: "Roles", Values: []string{"admin", "ops"}},
			{Name: "X-Tenant", Values: []string{"acme"}, Subjects: []string{"api.>"}},
		},
		Subscribe: []string{"Session"},
	}
	_, binary := buildIssuer(t)
	for name, command := range map[string][]string{
		"go":           {binary},
		"node":         {"node", "issue.mjs"},
		"node by hand": {"node", "issue.mjs", "--by-hand"},
		"python":       {"python3", "issue.py"},
	} {
		for _, signer := range []string{"account", "signing key"} {
			t.Run(name+", "+signer, func(t *testing.T) {
				needIssuer(t, command[0])
				pair := harness.NewAccountKey(t)
				seed, err := pair.Seed()
				if err != nil {
					t.Fatal(err)
				}
				user, account := must(harness.NewUserKey(t).PublicKey()), ""
				cmd := exec.Command(command[0], append(command[1:], user)...)
				cmd.Dir = examples
				cmd.Env = append(os.Environ(), "ACCOUNT_SEED="+string(seed))
				if signer == "signing key" {
					account = must(harness.NewAccountKey(t).PublicKey())
					cmd.Env = append(cmd.Env, "ISSUER_ACCOUNT="+account)
				}
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("the example %v failed: %v", command, err)
				}
				token := strings.TrimSpace(string(out))
				u, err := jwt.DecodeUserClaims(token)
				if err != nil {
					t.Fatal(err)
				}
				if u.Issuer != must(pair.PublicKey()) || u.IssuerAccount != account || u.Subject != user || u.Name != "alice" || u.Limits.Subs != jwt.NoLimit {
					t.Errorf("user claims are not as issued: issuer_account %q", u.IssuerAccount)
				}
				if c, err := claim.FromUserJWT(token, claim.Limits{}); err != nil || !reflect.DeepEqual(c, want) {
					t.Errorf("the claim in the user JWT is the wanted one: %t; error %v", reflect.DeepEqual(c, want), err)
				}
			})
		}
	}
}

// TestClaimTemplateExample runs the script that puts headers into the templates of an account JWT that nsc wrote. The script
// prints a JWT that the operator signed, and that keeps everything else.
func TestClaimTemplateExample(t *testing.T) {
	needIssuer(t, "python3")
	operator, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := operator.Seed()
	if err != nil {
		t.Fatal(err)
	}
	account := must(harness.NewAccountKey(t).PublicKey())
	key := must(harness.NewAccountKey(t).PublicKey())
	plain := must(harness.NewAccountKey(t).PublicKey())
	claims := jwt.NewAccountClaims(account)
	claims.Limits.Subs = 7
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = key, "team"
	scope.Template.Permissions.Pub.Allow.Add("api.>")
	claims.SigningKeys.AddScopedSigner(scope)
	claims.SigningKeys.Add(plain)
	token, err := claims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	run := func(templates string) (string, error) {
		file := filepath.Join(t.TempDir(), "templates.json")
		if err := os.WriteFile(file, []byte(templates), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("python3", "template_headers.py", file)
		cmd.Dir, cmd.Stdin = examples, strings.NewReader(token+"\n")
		cmd.Env = append(os.Environ(), "OPERATOR_SEED="+string(seed)+"\n")
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	filled, err := run(`{"team": {"headers": {"X-Team": "{{tag(team)}}"}, "header_permissions": {"subscribe": {"allow": ["Session"]}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	after, err := jwt.DecodeAccountClaims(filled)
	if err != nil {
		t.Fatal(err)
	}
	issuer, _ := operator.PublicKey()
	if after.Issuer != issuer || after.Subject != account || after.Limits.Subs != 7 || len(after.SigningKeys) != 2 || after.IssuedAt < claims.IssuedAt {
		t.Error("the account's claims are not as they were")
	}
	want := &claim.Claim{Headers: []claim.Header{{Name: "X-Team", Values: []string{"{{tag(team)}}"}}}, Subscribe: []string{"Session"}}
	if c, err := claim.FromAccountJWT(filled, key, claim.MaxLimits); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("the template in the account JWT is the wanted one: %t; error %v", reflect.DeepEqual(c, want), err)
	}
	if _, err := run(`{"nobody": {"headers": {"X-Team": "x"}}}`); err == nil {
		t.Error("a role that the account does not have is no error")
	}
}

// needIssuer skips the test if a language or its packages are missing.
func needIssuer(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
	switch program {
	case "node":
		if _, err := os.Stat(filepath.Join(examples, "node_modules")); err != nil {
			t.Skip("run npm ci in docs/examples first")
		}
	case "python3":
		if exec.Command(program, "-c", "import cryptography").Run() != nil {
			t.Skip("python's package cryptography is not installed")
		}
	}
}
