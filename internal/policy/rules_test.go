package policy

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/internal/conf"
)

func parse(t testing.TB, text string) (*Rules, error) {
	t.Helper()
	n, err := conf.ParseString("headers {\n" + text + "\n}")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	r := ParseRules(n.Get("headers"), &faults)
	return r, faults.Err()
}

func mustParse(t testing.TB, text string) *Rules {
	t.Helper()
	r, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseRules(t *testing.T) {
	r := mustParse(t, `
		protected: ["Session", "X-Auth-*", {name: "X-User", accounts: ["APP", "B"]}]
		sealed: Authorization
		all: {"X-Client-IP": "{{client-ip()}}", "Via": {value: "x", subjects: ["a.>"]}}
		max_headers: 3, max_bytes: 100
		require_stamping_peers: true, check_replies: true, provenance: true
		trusted_proxies: ["10.1.2.3/8", "::1"]`)
	if len(r.Protected) != 3 || r.Protected[2].Name != "X-User" || !slices.Equal(r.Protected[2].Accounts, []string{"APP", "B"}) {
		t.Errorf("protected are %+v, want three names, the last one for APP and B", r.Protected)
	}
	if !slices.Equal(r.Sealed, []string{"Authorization"}) || len(r.All.Headers) != 2 || r.Limits != (claim.Limits{MaxHeaders: 3, MaxBytes: 100}) {
		t.Errorf("sealed names, headers.all or limits were read otherwise: %+v", r)
	}
	if !r.RequireStampingPeers || !r.CheckReplies || !r.Provenance || len(r.TrustedProxies) != 2 {
		t.Errorf("the switches or trusted_proxies were read otherwise: %+v", r)
	}
}

// Every fault is reported, in the order of the file, at its line and column.
func TestParseRulesFaults(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`max_headers: 0`, `2:1: max_headers: expected a number from 1 to 65535; found 0`},
		{`max_bytes: "1K"`, `2:1: max_bytes: expected a number from 1 to 65535; found a string`},
		{`seald: [A]`, `2:1: unknown field "seald"`},
		{`sealed: [A, 5 ]`, `sealed: expected a name; found a number`},
		{`sealed: ["A b"]`, `2:11: sealed: expected a header name, the beginning of one followed by *, or *; found "A b"`},
		{`sealed: ["A*b"]`, `2:11: sealed: expected a header name, the beginning of one followed by *, or *; found "A*b"`},
		{`sealed: ["X-User", "x_user"]`, `2:21: sealed: duplicate name (case is ignored, and '-', '_' and '.' are one character); found "x_user"`},
		{`protected: [5 ]`, `protected: expected a name, or a block`},
		{`protected: [{accounts: [A]}]`, `field "name" is missing`},
		{`protected: [{name: A}]`, `field "accounts" is missing`},
		{`protected: [{name: A, accounts: []}]`, `accounts: expected at least one account`},
		{`protected: [{name: A, accounts: [B], x: 1}]`, `unknown field "x"`},
		{`protected: [A, {name: a, accounts: [B]}]`, `protected: duplicate name`},
		{`all: {"Nats-X": y}`, `all: header "Nats-X": name is reserved`},
		{`all: {A: 5}`, `all: header "A"`},
		{`all: {A: ""}`, `all: header "A"`},
		{`all: {A: "{{secret()}}"}`, `unknown template function`},
		{`all: {A: {value: x, subjects: ["{{name()}}"]}}`, `subjects of a header cannot have template functions`},
		{`all: {A: x, a: y}`, `all: `},
		{"max_headers: 1\nall: {A: x, B: y}", `all: `},
		{`trusted_proxies: [localhost]`, `2:19: trusted_proxies: expected an address without a zone, or a network such as 10.0.0.0/8; found "localhost"`},
		{`trusted_proxies: ["fe80::1%eth0"]`, `trusted_proxies: expected an address`},
		{`check_replies: yess`, `check_replies: expected true or false`},
	} {
		_, err := parse(t, tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: found error %v, want %s", tt.text, err, tt.want)
		}
	}
	_, err := parse(t, "sealed: [\"A b\"]\nall: {B: \"secret\\x00\"}\nmax_headers: 0")
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 3 || strings.Contains(err.Error(), "secret") {
		t.Errorf("expected three faults in one error, without the value; found %v", err)
	}
}

func TestRulesCheck(t *testing.T) {
	kp, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	key, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	known := func(name string) bool { return name == "APP" }
	r := mustParse(t, `protected: [{name: A, accounts: [APP, NONE]}, {name: B, accounts: [`+key+`]}]`)
	err = r.CheckAccounts(known, false)
	if err == nil || !strings.Contains(err.Error(), `account "NONE"`) || !strings.Contains(err.Error(), ":2:") || strings.Contains(err.Error(), `"APP"`) {
		t.Errorf("expected only the unknown account NONE with its place; found error %v", err)
	}
	err = r.CheckAccounts(known, true)
	if err == nil || !strings.Contains(err.Error(), `found "APP"`) || strings.Contains(err.Error(), key) {
		t.Errorf("expected only the name APP, which is no key; found error %v", err)
	}
	if err := (*Rules)(nil).CheckAccounts(known, true); err != nil {
		t.Error(err)
	}
}

func TestRulesEqual(t *testing.T) {
	const text = `protected: [A, {name: B, accounts: [C]}], all: {D: "{{name()}}"}, trusted_proxies: ["::1"]`
	if !mustParse(t, text).Equal(mustParse(t, "\n\n"+text)) {
		t.Error("a block some lines further down counts as different")
	}
	for _, other := range []string{"", "check_replies: true", strings.Replace(text, "[C]", "[E]", 1), strings.Replace(text, "name()", "subject()", 1), text + ", max_bytes: 7000"} {
		if mustParse(t, text).Equal(mustParse(t, other)) {
			t.Errorf("the other block %q counts as equal", other)
		}
	}
	if mustParse(t, text).Equal(nil) {
		t.Error("a block counts as equal to none")
	}
}

const hostile = "NATS/1.0\r\nsession: f\r\nx_auth.user: f\r\nX-User: f\r\nStamp-Time: f\r\nColor: blue\r\n\r\n"

// kept returns the names of the lines that are left of hostile, and of those that are added.
func kept(t *testing.T, r *Rules, c Conn) string {
	t.Helper()
	g, err := r.GrantFor(c)
	if err != nil {
		t.Fatal(err)
	}
	if g.Stamp == nil {
		return "all"
	}
	out, err := g.Stamp.Append(nil, []byte("foo"), []byte(hostile))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if value != "f" && name != "Color" {
			name += "=" + value
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// Which protected names a connection can send depends on its permissions and account.
func TestProtected(t *testing.T) {
	r := mustParse(t, `protected: [Session, "X-Auth-*", {name: "X-User", accounts: [APP]}]`)
	permit := func(names ...string) *claim.Claim { return &claim.Claim{Publish: names} }
	for _, tt := range []struct {
		name string
		conn Conn
		want string
	}{
		{"nobody", Conn{}, "Stamp-Time Color"},
		{"permitted one", Conn{User: permit("SESSION")}, "session Stamp-Time Color"},
		{"permitted by a pattern", Conn{User: permit("x-*")}, "x_auth.user Stamp-Time Color"},
		{"permitted all, in another account", Conn{Account: "B", User: permit("*")}, "session x_auth.user Stamp-Time Color"},
		{"permitted all, in the account", Conn{Account: "APP", User: permit("*")}, "all"},
		{"in the account, not permitted", Conn{Account: "APP"}, "Stamp-Time Color"},
		{"by a user JWT", Conn{UserJWT: token(`{"nats":{"header_permissions":{"publish":{"allow":["Session"]}}}}`)}, "session Stamp-Time Color"},
		{"by a scope", Conn{
			UserJWT: token(`{"nats":{}}`), Scoped: true, SigningKey: "AK",
			AccountJWT: token(`{"nats":{"signing_keys":[{"kind":"user_scope","key":"AK","template":{"header_permissions":{"publish":{"allow":["Session"]}}}}]}}`),
		}, "session Stamp-Time Color"},
		{"to subscribe is not to publish", Conn{User: &claim.Claim{Subscribe: []string{"*"}}}, "Stamp-Time Color"},
		{"stamped", Conn{User: configured("Session", "v")}, "Stamp-Time Color Session=v"},
		{"stamped in the account", Conn{Account: "APP", User: configured("X-User", "v")}, "Stamp-Time Color X-User=v"},
		{"stamped in another account", Conn{Account: "B", User: configured("X-User", "v")}, "Stamp-Time Color"},
		{"system account", Conn{System: true}, "Stamp-Time Color"},
		{"permitted all, in the system account", Conn{System: true, User: permit("*")}, "session x_auth.user Stamp-Time Color"},
		{"MQTT", Conn{MQTT: true}, "all"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := kept(t, r, tt.conn); got != tt.want {
				t.Errorf("the lines that are left are %q, want %q", got, tt.want)
			}
		})
	}
	g, err := r.GrantFor(Conn{Account: "B", User: configured("x_user", "v")})
	if err != nil || !slices.Equal(g.LeftOut, []string{"x_user"}) || len(g.Names) != 0 {
		t.Errorf("expected x_user left out, and no stamped name; found %+v, error %v", g, err)
	}
}

// headers.all is stamped on each kind of connection to which it applies.
func TestAll(t *testing.T) {
	r := mustParse(t, `all: {"X-User": "{{name()}}", "X-Auth-User": "{{tls-subject()}}"}`)
	vars := Vars{Name: "ann"}
	for _, tt := range []struct {
		name string
		conn Conn
		want string
	}{
		{"everybody", Conn{Vars: vars}, "session Stamp-Time Color X-User=ann"},
		{"nobody is permitted", Conn{Vars: vars, User: &claim.Claim{Publish: []string{"*"}}}, "session Stamp-Time Color X-User=ann"},
		{"before the claim's", Conn{Vars: vars, User: configured("Session", "v")}, "Stamp-Time Color X-User=ann Session=v"},
		{"no value", Conn{}, "session Stamp-Time Color"},
		{"MQTT", Conn{MQTT: true, Vars: vars}, "session x_auth.user Stamp-Time Color X-User=ann"},
		{"of this server's own making", Conn{Solicited: true, Vars: vars}, "session Stamp-Time Color"},
		{"of this server's own making, permitted", Conn{Solicited: true, Vars: vars, User: &claim.Claim{Publish: []string{"X-User"}}}, "session X-User Stamp-Time Color"},
		{"system account", Conn{System: true, Vars: vars}, "session Stamp-Time Color X-User=ann"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := kept(t, r, tt.conn); got != tt.want {
				t.Errorf("the lines that are left are %q, want %q", got, tt.want)
			}
		})
	}
	for _, name := range []string{"x_user", "X-Auth-User"} { // also one without a value
		_, err := r.GrantFor(Conn{Vars: vars, User: configured(name, "v")})
		if !errors.Is(err, ErrSetByServer) || !strings.Contains(err.Error(), name) {
			t.Errorf("a claim of %s must be refused as set by the server; found error %v", name, err)
		}
	}
	for _, bad := range []string{"a\r\nSession: f", strings.Repeat("x", 20000)} {
		if _, err := r.GrantFor(Conn{Vars: Vars{Name: bad}}); err == nil {
			t.Errorf("a name of %d bytes is stamped", len(bad))
		}
	}
	limited := mustParse(t, "max_headers: 1\nall: {\"X-User\": \"{{name()}}\"}")
	if _, err := limited.GrantFor(Conn{Vars: vars, User: configured("Session", "v")}); !errors.Is(err, claim.ErrTooManyHeaders) {
		t.Errorf("the sum is above the limit: %v", err)
	}
}

func TestProvenance(t *testing.T) {
	r := mustParse(t, "provenance: true")
	if got := kept(t, r, Conn{Account: "APP", User: configured("Session", "v")}); !strings.HasPrefix(got, "x_auth.user X-User Color Session=v Stamp-Account=APP Stamp-Subject=foo Stamp-Time=2") {
		t.Errorf("of a stamped connection, expected its stamp and provenance; found %q", got)
	}
	// A connection without a stamp cannot send the names of provenance either, whatever its permissions are.
	if got := kept(t, r, Conn{User: &claim.Claim{Publish: []string{"*"}}}); got != "session x_auth.user X-User Color" {
		t.Errorf("of a connection without a stamp, expected no names of provenance; found %q", got)
	}
	// A leafnode's server may stamp messages itself. Its provenance is kept if its user has permission for all three
	// names, also on messages that this server stamps.
	may := func(names ...string) *claim.Claim { return &claim.Claim{Publish: names} }
	stamping := mustParse(t, `provenance: true, all: {"Site": "{{name()}}"}`)
	vars := Vars{Name: "s"}
	for _, tt := range []struct {
		rules *Rules
		conn  Conn
		want  string
	}{
		{r, Conn{Leafnode: true}, "session x_auth.user X-User Color"},
		{r, Conn{Leafnode: true, User: may("*")}, "all"},
		{r, Conn{Leafnode: true, User: may("Stamp-*")}, "all"},
		{r, Conn{Leafnode: true, User: may("Stamp-Account", "Stamp-Subject")}, "session x_auth.user X-User Color"},
		{r, Conn{Leafnode: true, User: may("Stamp-Time")}, "session x_auth.user X-User Color"},
		{r, Conn{Leafnode: true, User: may("stamp_t*", "Stamp-A*")}, "session x_auth.user X-User Color"},
		// The name of proofs, for which it has no permission, is removed. The message of this test has none.
		{r, Conn{Leafnode: true, User: may("stamp_account", "Stamp-Subject", "Stamp-T*")}, "session x_auth.user X-User Stamp-Time Color"},
		{r, Conn{Leafnode: true, User: may("stamp_account", "Stamp-Subject", "Stamp-T*", "stamp.proof")}, "all"},
		{r, Conn{Leafnode: true, Solicited: true, User: may("Stamp-*")}, "all"},
		{r, Conn{Leafnode: true, Solicited: true, User: may("Stamp-Time")}, "session x_auth.user X-User Color"},
		{stamping, Conn{Leafnode: true, Vars: vars, User: may("*")}, "session x_auth.user X-User Stamp-Time Color Site=s"},
		{stamping, Conn{Leafnode: true, Vars: vars, Account: "APP"}, "session x_auth.user X-User Color Site=s Stamp-Account=APP Stamp-Subject=foo Stamp-Time=2"},
		{stamping, Conn{Leafnode: true, Vars: vars, Account: "APP", User: may("Stamp-Time")}, "session x_auth.user X-User Color Site=s Stamp-Account=APP Stamp-Subject=foo Stamp-Time=2"},
	} {
		if got := kept(t, tt.rules, tt.conn); !strings.HasPrefix(got, tt.want) || strings.Count(got, "Stamp-Time") > 1 {
			t.Errorf("%+v: the lines that are left are %q, want %q", tt.conn, got, tt.want)
		}
	}
}

// A connection reads the sealed names for which it has permission.
func TestSealed(t *testing.T) {
	r := mustParse(t, `sealed: [Session, "X-Auth-*"]`)
	for _, tt := range []struct {
		name, want string
		conn       Conn
	}{
		{"nobody", "X-User Stamp-Time Color", Conn{}},
		{"MQTT", "X-User Stamp-Time Color", Conn{MQTT: true}},
		{"permitted one", "session X-User Stamp-Time Color", Conn{User: &claim.Claim{Subscribe: []string{"Session"}}}},
		{"permitted by a pattern", "x_auth.user X-User Stamp-Time Color", Conn{User: &claim.Claim{Subscribe: []string{"X-Auth-U*"}}}},
		{"to publish is not to subscribe", "X-User Stamp-Time Color", Conn{User: &claim.Claim{Publish: []string{"*"}}}},
		{"permitted all", "all", Conn{User: &claim.Claim{Subscribe: []string{"*"}}}},
		{"system account", "X-User Stamp-Time Color", Conn{System: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := r.GrantFor(tt.conn)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "all" || g.Seal == nil {
				if g.Seal != nil || tt.want != "all" {
					t.Errorf("the grant has the seal %v, and all headers are to be seen: %t", g.Seal, tt.want == "all")
				}
				return
			}
			out, _ := g.Seal.Cut(nil, []byte(hostile))
			var names []string
			for _, line := range strings.Split(strings.TrimSpace(string(out)), "\r\n")[1:] {
				name, _, _ := strings.Cut(line, ":")
				names = append(names, name)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("the connection sees %q, want %q", got, tt.want)
			}
			if again, _ := r.GrantFor(tt.conn); again.Seal != g.Seal {
				t.Error("equal connections have different seals")
			}
		})
	}
}

// Without a headers block, and with an empty one, connections have neither stamp nor seal.
func TestNothingInForce(t *testing.T) {
	for _, r := range []*Rules{nil, {}, mustParse(t, ""), mustParse(t, "max_bytes: 5")} {
		for _, c := range []Conn{{}, {User: &claim.Claim{Publish: []string{"*"}, Subscribe: []string{"A"}}}} {
			if g, err := r.GrantFor(c); err != nil || !reflect.DeepEqual(g, &Grant{}) {
				t.Errorf("expected an empty grant; found %+v, error %v", g, err)
			}
		}
	}
	if !mustParse(t, "check_replies: true").orDefault().CheckReplies {
		t.Error("orDefault drops check_replies")
	}
}

// Connections with equal grants share their sets, stamps and seals.
func TestEqualGrantsShare(t *testing.T) {
	r := mustParse(t, `protected: [A, "B*", {name: C, accounts: [APP]}], sealed: [D, E]`)
	first, err := r.GrantFor(Conn{Account: "APP", User: &claim.Claim{Publish: []string{"A", "C"}, Subscribe: []string{"D"}}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.GrantFor(Conn{Account: "APP", User: &claim.Claim{Publish: []string{"C", "A"}, Subscribe: []string{"D"}}})
	if err != nil || first.Stamp != other.Stamp || first.Seal != other.Seal {
		t.Errorf("equal grants do not share their stamp or seal; error %v", err)
	}
	if n := len(r.compiled.exceptions); n != 3 {
		t.Errorf("%d sets are kept, want 3", n)
	}
}

func TestClientIP(t *testing.T) {
	r := mustParse(t, `trusted_proxies: ["10.0.0.0/8", "::1", "192.0.2.7"]`)
	for _, tt := range []struct {
		socket, want string
		forwarded    []string
	}{
		{"203.0.113.9", "203.0.113.9", nil},
		{"203.0.113.9", "203.0.113.9", []string{"198.51.100.1"}},
		{"10.0.0.1", "10.0.0.1", nil},
		{"10.0.0.1", "198.51.100.1", []string{"198.51.100.1"}},
		{"10.0.0.1", "198.51.100.1", []string{"1.1.1.1, 198.51.100.1"}},
		{"10.0.0.1", "198.51.100.1", []string{"1.1.1.1", "198.51.100.1,\t192.0.2.7 , 10.2.3.4"}},
		{"10.0.0.1", "10.2.3.4", []string{"10.2.3.4"}},
		{"10.0.0.1", "", []string{"1.1.1.1, unknown"}},
		{"10.0.0.1", "", []string{"1.1.1.1, x, 10.2.3.4"}},
		{"10.0.0.1", "1.1.1.1", []string{"1.1.1.1:80"}},
		{"10.0.0.1", "1.1.1.1", []string{"6.6.6.6, 1.1.1.1:80, 10.2.3.4:443"}},
		{"10.0.0.1", "2001:db8::1", []string{"[2001:db8::1]:80"}},
		{"10.0.0.1", "2001:db8::1", []string{"[2001:db8::1]"}},
		{"10.0.0.1", "1.1.1.1", []string{"1.1.1.1, [::ffff:10.2.3.4]:80"}},
		{"10.0.0.1", "fe80::1", []string{"[fe80::1%eth0]:80"}},
		{"10.0.0.1", "", []string{"[1.1.1.1"}},
		{"10.0.0.1", "1.1.1.1", []string{"6.6.6.6, 1.1.1.1, ,,"}},
		{"10.0.0.1", "1.1.1.1", []string{"1.1.1.1", ""}},
		{"10.0.0.1", "", []string{""}},
		{"10.0.0.1", "", []string{" , "}},
		{"10.0.0.1", "1.1.1.1", []string{strings.Repeat("junk", 1000) + ", 1.1.1.1"}},
		{"10.0.0.1", "1.1.1.1", []string{strings.Repeat("junk", 1000), "1.1.1.1"}},
		{"10.0.0.1", "1.1.1.1", []string{strings.Repeat("6.6.6.6,", 1000) + "1.1.1.1"}},
		{"10.0.0.1", "", []string{strings.Repeat("10.0.0.1,", 1000)}},
		{"10.0.0.1", "", []string{"1.1.1.1, " + strings.Repeat("x", 5000)}},
		{"::1", "198.51.100.1", []string{"::ffff:198.51.100.1"}},
		{"::ffff:10.0.0.1", "2001:db8::1", []string{"2001:0DB8::0001"}},
		{"fe80::1%eth0", "fe80::1", nil},
		{"pipe", "", []string{"1.1.1.1"}},
		{"", "", nil},
	} {
		if got := r.ClientIP(tt.socket, JoinForwardedFor(tt.forwarded)); got != tt.want {
			t.Errorf("ClientIP of socket %s and %q = %q, want %q", tt.socket, tt.forwarded, got, tt.want)
		}
	}
	if got := (*Rules)(nil).ClientIP("127.0.0.1", "1.1.1.1"); got != "127.0.0.1" {
		t.Errorf("without rules, the address is %q, want the socket's", got)
	}
}

// What is to the left of an address that is not a trusted proxy is ignored.
// Of many values only the last ones are joined.
func TestJoinForwardedForReadsTheEnd(t *testing.T) {
	values := slices.Repeat([]string{"6.6.6.6"}, 10000)
	if n := testing.AllocsPerRun(5, func() { JoinForwardedFor(values) }); n > maxForwardedFor {
		t.Errorf("%v strings were joined, which is above the bound", n)
	}
}

func FuzzClientIP(f *testing.F) {
	r := mustParse(f, `trusted_proxies: ["10.0.0.0/8"]`)
	f.Add("10.0.0.1", "1.1.1.1, 10.0.0.2")
	f.Fuzz(func(t *testing.T, socket, forwarded string) {
		got := r.ClientIP(socket, JoinForwardedFor([]string{forwarded}))
		if again := r.ClientIP(socket, JoinForwardedFor([]string{"6.6.6.6, 198.51.100.1, " + forwarded})); again != got && got != "" && !r.isTrustedProxy(addressOf(t, got)) {
			t.Errorf("socket %q with %q: the address is %q, and %q with more addresses in front", socket, forwarded, got, again)
		}
	})
}

func FuzzParseRules(f *testing.F) {
	f.Add(`protected: [A, {name: B, accounts: [C]}], sealed: "*"`)
	f.Add(`all: {A: "{{name()}}", B: [x, y]}, trusted_proxies: "::/0"`)
	f.Fuzz(func(t *testing.T, text string) {
		n, err := conf.ParseString("headers {\n" + text + "\n}")
		if err != nil {
			return
		}
		var faults conf.Faults
		r := ParseRules(n.Get("headers"), &faults)
		if faults.Err() != nil {
			return
		}
		if !r.Equal(r) {
			t.Error("rules are not equal to themselves")
		}
		_, _ = r.GrantFor(Conn{Vars: Vars{Name: "ann"}})
	})
}

func addressOf(t *testing.T, text string) netip.Addr {
	t.Helper()
	a, ok := parseAddress(text)
	if !ok {
		t.Fatalf("the address %q cannot be read", text)
	}
	return a
}

// A pattern does not match the names that servers and clients act on. A full name does.
func TestPatternsSpareNamesThatSteer(t *testing.T) {
	for _, tt := range []struct {
		pattern, reached, spared string
		warns                    bool
	}{
		{"*", "X-User traceparent Stamp-Time Nat", "Nats-Msg-Id nats_rollup Nmqtt-Pub KV-Operation Status Description Accept-Encoding Content-Encoding Nats-Schedule", true},
		{"Nats-*", "", "Nats-Msg-Id Nats-Schedule-Target", true},
		{"Nats-M*", "", "Nats-Msg-Id", true},
		{"N*", "Name", "Nats-Msg-Id Nmqtt-Pub", true},
		{"Nats-Schedule*", "Nats-Schedule nats.schedule_target", "Nats-Msg-Id", false},
		{"Nats-Schedule-S*", "Nats-Schedule-Source", "Nats-Schedule", false},
		{"Nats-Msg-Id", "nats_msg_id", "Nats-Rollup", false},
		{"KV-Operation", "kv.operation", "", false},
		{"X-*", "X-User", "Status", false},
	} {
		// A small set is compared entry by entry, a large one has a hash table.
		for _, more := range []string{"", `, "Q1*", Q2, "Q3*", Q4, "Q5*", Q6, "Q7*", Q8, "Q9*", Q10`} {
			for _, list := range []string{"sealed", "protected"} {
				r := mustParse(t, list+`: ["`+tt.pattern+`"`+more+`]`)
				if warns := len(r.Warnings()) > 0; warns != tt.warns {
					t.Errorf("pattern %s: warnings %q, want some: %t", tt.pattern, r.Warnings(), tt.warns)
				}
				has := func(name string) bool { return r.Seals(name) }
				if list == "protected" {
					has = func(name string) bool { return r.compiled.protected.Has([]byte(name)) }
				}
				for _, name := range strings.Fields(tt.reached) {
					if !has(name) {
						t.Errorf("%s: pattern %s does not reach %s", list, tt.pattern, name)
					}
				}
				for _, name := range strings.Fields(tt.spared) {
					if has(name) {
						t.Errorf("%s: the pattern %s reaches %s, which clients and servers act on", list, tt.pattern, name)
					}
				}
			}
		}
	}
	r := mustParse(t, `sealed: ["Status", "*"]`)
	if !r.Seals("status") || r.Seals("Nats-Msg-Id") || len(r.Warnings()) != 1 || !strings.Contains(r.Warnings()[0], ":2:21: sealed: the pattern \"*\" leaves out nats-*") {
		t.Errorf("expected Status sealed, Nats-Msg-Id not, and a warning about the pattern; the warnings are %q", r.Warnings())
	}
	if g, err := r.GrantFor(Conn{User: &claim.Claim{Subscribe: []string{"X-*"}}}); err != nil || g.Seal == nil {
		t.Fatal(err)
	} else if out, n := g.Seal.Cut(nil, []byte("NATS/1.0\r\nNats-Msg-Id: 7\r\nX-A: 1\r\nB: 2\r\n\r\n")); n != 1 || !strings.Contains(string(out), "Nats-Msg-Id: 7\r\nX-A: 1\r\n") {
		t.Errorf("with a permission for X-*, expected X-A and no other hidden header; found %q", out)
	}
}
