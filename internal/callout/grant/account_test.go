package grant

import (
	"strings"
	"testing"

	"stamp/internal/conf"
)

// checkAccounts returns the faults of grants whose callouts are sent in the account AUTH.
func checkAccounts(t *testing.T, text string, listed ...string) string {
	t.Helper()
	var faults conf.Faults
	g := mustParse(t, text)
	g.CheckLists(listed, &faults)
	g.CheckCallouts(func(account string) bool { return account == "AUTH" || account == "KEY" }, listed, &faults)
	if err := faults.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// No grant can put a user into the account that callouts are sent in, by its name, by a template or by the
// name of its signing key.
func TestGrantsIntoTheCalloutsAccount(t *testing.T) {
	for _, test := range []struct {
		name, grant string
		listed      []string // signing_keys
		want        string   // "": no fault
	}{
		{"another account", `account: APP`, nil, ""},
		{"the name", `account: AUTH`, nil, `configuration:2:1: account "AUTH" is where servers send authorization requests`},
		{"the name, with a condition", `account: AUTH, when: 'session.a == "b"'`, nil, `account "AUTH" is where`},
		{"the name, without permissions", `account: AUTH, publish: [], subscribe: []`, nil, `account "AUTH" is where`},
		{"another spelling is another account", `account: auth`, nil, ""},
		{"a template", `account: "{{ session.a }}"`, nil, "configuration:2:1: account is a template, so it needs a list"},
		{"part of a template", `account: "A{{ session.a }}"`, nil, "account is a template, so it needs a list"},
		{"a template without a variable", `account: '{{ "AUTH" }}'`, nil, "account is a template, so it needs a list"},
		{"an empty list", `account: "{{ session.a }}", accounts: []`, nil, "account is a template, so it needs a list"},
		{"a list", `account: "{{ session.a }}", accounts: [APP, B]`, nil, ""},
		{"a list with the name", `account: "{{ session.a }}", accounts: [APP, AUTH]`, nil, `configuration:2:29: account "AUTH" is where`},
		{"a list without a template", `account: APP, accounts: [APP]`, nil, "configuration:2:15: accounts: expected a template in account"},
		{"a signing key", `account: KEY`, []string{"APP", "KEY"}, `account "KEY" is where`},
		{"a template over signing keys", `account: "{{ session.a }}"`, []string{"APP", "B"}, ""},
		{"a template over all signing keys", `account: "{{ session.a }}"`, []string{"APP", "KEY"}, `account "KEY" is where`},
		{"a list of some signing keys", `account: "{{ session.a }}", accounts: [APP]`, []string{"APP", "KEY"}, ""},
		{"scoped", `account: AUTH, scoped: true`, nil, `account "AUTH" is where`},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := one(test.grant)
			if strings.Contains(test.grant, "scoped") {
				text = "grants: [{\n" + test.grant + "}]"
			}
			got := checkAccounts(t, text, test.listed...)
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("found the faults %q, want %q", got, test.want)
			}
		})
	}
	// All of them at once.
	all := checkAccounts(t, `grants: [
		{when: "false", account: AUTH, publish: [], subscribe: []}
		{name: b, account: "{{ session.a }}", publish: [], subscribe: []} ]`)
	if strings.Count(all, "\n") != 1 {
		t.Errorf("expected two faults; found %q", all)
	}
}

// If a template gives an account that is not in the list, the connection is refused, whatever the session says.
func TestListedAccounts(t *testing.T) {
	g := mustParse(t, one(`account: "{{ session.account }}", accounts: [APP, B]`))
	for account, ok := range map[string]bool{"APP": true, "B": true, "AUTH": false, "app": false, "APP ": false, "": false} {
		s := data(t, `{"account":"`+account+`"}`)
		r, err := g.Match(s, cookie(), now)
		if ok != (err == nil) || ok && r.Account != account {
			t.Errorf("account %q of the session: the result is %v, error %v; want it accepted: %t", account, r, err, ok)
		}
	}
}
