package grant

import (
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/internal/callout/session"
)

const typical = `grants: [
	{
		name: admin, when: 'session.role == "admin"', account: APP, user: "{{ session.user }}"
		publish: ["api.>"], subscribe {allow: ["_INBOX.{{ session.user }}.>", "news.*"], deny: "news.secret"}
		response_permissions: true, connection_types: [websocket], networks: ["192.0.2.0/24"]
		limits {subscriptions: 100, payload: 65536}, expires: "15m", tags: ["Team:{{ session.team }}", Static]
		headers {
			Session: "{{ credential }}", X-User: "{{ session.user }}", Roles: "{{ session.roles }}"
			Authorization {value: "Bearer {{ session.access_token }}", subjects: ["api.>"]}
		}
		header_permissions {publish: [X-Trace], subscribe {allow: ["*"]}}
	}
	{ name: rest, account: GUESTS, publish: [], subscribe: "news.*" }
]`

const admin = `{"role":"admin","user":"alice","team":"Red","roles":["admin","ops"],"access_token":"tok"}`

// A grant gives account, user, permissions and headers.
func TestMatch(t *testing.T) {
	got, err := mustParse(t, typical).Match(data(t, admin), cookie(), now)
	if err != nil {
		t.Fatal(err)
	}
	want := &Result{Grant: "admin", Account: "APP", User: &jwt.UserClaims{}}
	want.User.Name, want.User.Expires = "alice", now.Add(15*time.Minute).Unix()
	want.User.Pub.Allow = jwt.StringList{"api.>"}
	want.User.Sub = jwt.Permission{Allow: jwt.StringList{"_INBOX.alice.>", "news.*"}, Deny: jwt.StringList{"news.secret"}}
	want.User.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: 2 * time.Minute}
	want.User.AllowedConnectionTypes = jwt.StringList{"WEBSOCKET"}
	want.User.Src = jwt.CIDRList{"192.0.2.0/24"}
	want.User.NatsLimits = jwt.NatsLimits{Subs: 100, Data: -1, Payload: 65536}
	want.User.Tags = jwt.TagList{"static", "team:red"}
	want.Claim = &claim.Claim{
		Headers: []claim.Header{
			{Name: "Authorization", Values: []string{"Bearer tok"}, Subjects: []string{"api.>"}},
			{Name: "Roles", Values: []string{"admin", "ops"}},
			{Name: "Session", Values: []string{"c00k1e"}},
			{Name: "X-User", Values: []string{"alice"}},
		},
		Publish: []string{"X-Trace"}, Subscribe: []string{"*"},
	}
	for _, pair := range [][2]any{{got.Grant, want.Grant}, {got.Account, want.Account}, {got.User.Name, "alice"}, {*got.User, *want.User}} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("the result has %+v, want %+v", pair[0], pair[1])
		}
	}
	if err := got.Claim.Check(claim.Limits{}); err != nil || len(got.Claim.Headers) != 4 {
		t.Fatalf("expected a valid claim with 4 headers; found %+v, error %v", got.Claim, err)
	}
	for i, h := range want.Claim.Headers {
		g := got.Claim.Headers[i]
		if g.Name != h.Name || !reflect.DeepEqual(g.Values, h.Values) || strings.Join(g.Subjects, " ") != strings.Join(h.Subjects, " ") {
			t.Errorf("the claim has the header %+v, want %+v", g, h)
		}
	}
	if !reflect.DeepEqual(got.Claim.Publish, want.Claim.Publish) || !reflect.DeepEqual(got.Claim.Subscribe, want.Claim.Subscribe) {
		t.Errorf("the claim has other header permissions than the grant: %+v", got.Claim)
	}
}

// Upstream accepts the signed result without an issue, and the headers are read back unchanged.
func TestResultCanBeSigned(t *testing.T) {
	got, err := mustParse(t, typical).Match(data(t, admin), cookie(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	account, _ := nkeys.CreateAccount()
	user, _ := nkeys.CreateUser()
	signed := *got.User
	signed.Subject, _ = user.PublicKey()
	token, err := claim.Encode(&signed, got.Claim, account)
	if err != nil {
		t.Fatal(err)
	}
	read, err := jwt.DecodeUserClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	issues := jwt.CreateValidationResults()
	if read.Validate(issues); len(issues.Issues) > 0 {
		t.Errorf("upstream finds an issue in the user JWT: %v", issues.Issues[0].Description)
	}
	if c, err := claim.FromUserJWT(token, claim.Limits{}); err != nil || len(c.Headers) != 4 {
		t.Errorf("expected a claim with 4 headers in the user JWT; found %v, error %v", c, err)
	}
}

func TestFirstMatchAndNone(t *testing.T) {
	g := mustParse(t, `grants: [
		{ when: 'session.n == 1', account: A, publish: [], subscribe: [] }
		{ name: two, when: 'session.n < 3', account: B, publish: [], subscribe: [] }
		{ when: 'source == "kv" && session.n == 9', account: C, publish: [], subscribe: [] }
	]`)
	for text, want := range map[string]string{`{"n":1}`: "1", `{"n":2}`: "two", `{"n":9}`: "3", `{"n":8}`: ""} {
		got, err := g.Match(data(t, text), cookie(), now)
		switch {
		case want == "" && (err != ErrNone || err.Error() != "no grant matches"):
			t.Errorf("session %s: expected ErrNone; found %v, error %v", text, got, err)
		case want != "" && (err != nil || got.Grant != want):
			t.Errorf("session %s: got %+v, error %v; want grant %s", text, got, err, want)
		}
	}
}

// Whoever makes the condition of a strict grant fail does not get to the lax one.
func TestErrorInConditionIsNotSkipped(t *testing.T) {
	g := mustParse(t, `grants: [
		{ name: strict, when: 'session.level < 3', account: A, publish: [], subscribe: [] }
		{ name: lax, account: B, publish: ">", subscribe: ">" }
	]`)
	for _, text := range []string{`{}`, `{"level":"1"}`, `{"level":null}`, `{"level":[1]}`} {
		got, err := g.Match(data(t, text), cookie(), now)
		if got != nil {
			t.Fatalf("session %s: grant %s was given, though the condition of the strict one failed", text, got.Grant)
		}
		refusal(t, err, "when", "strict", "session.level < 3")
	}
	if got, err := g.Match(data(t, `{"level":3}`), cookie(), now); err != nil || got.Grant != "lax" {
		t.Errorf("expected the grant lax; found %v, error %v", got, err)
	}
}

func TestExpires(t *testing.T) {
	for _, c := range []struct {
		name, fields string
		session      time.Time
		want         time.Duration // from now, in whole seconds; 0: refused
	}{
		{"default", "", time.Time{}, DefaultExpires},
		{"grant", `expires: "15m"`, time.Time{}, 15 * time.Minute},
		{"session is shorter", `expires: "15m"`, now.Add(time.Minute), time.Minute},
		{"session is longer", `expires: "15m"`, now.Add(time.Hour), 15 * time.Minute},
		{"session has ended", `expires: "15m"`, now.Add(-time.Second), 0},
		{"session ends within the second", "", now.Add(400 * time.Millisecond), 0},
	} {
		s := data(t, `{}`)
		s.Expires = c.session
		got, err := mustParse(t, one(c.fields)).Match(s, cookie(), now)
		if c.want == 0 {
			refusal(t, err, "expires", "ended")
			continue
		}
		if err != nil || got.User.Expires != now.Add(c.want).Unix() {
			t.Errorf("%s: expected an end in %s; found %+v, error %v", c.name, c.want, got, err)
		}
	}
}

func TestNetworks(t *testing.T) {
	g := mustParse(t, one(`networks: ["10.0.0.0/8", "::1", "2001:db8::/32", "::ffff:192.168.0.0/112"]`))
	for host, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "::1": true, "::2": false,
		"2001:db8::5%eth0": true, "2001:db9::5": false, "192.168.9.9": true, "192.169.0.1": false,
		"": false, "pipe": false, "10.1.2.3:4222": false, "10.1.2.3, 11.0.0.1": false,
	} {
		r := cookie()
		r.Host = host
		_, err := g.Match(data(t, `{}`), r, now)
		if want != (err == nil) {
			t.Errorf("host %q: expected a grant: %t; found error %v", host, want, err)
		}
		if !want {
			refusal(t, err, "networks", "none of them")
		}
	}
}

func TestPermissions(t *testing.T) {
	for _, c := range []struct {
		fields, data string
		want         jwt.Permission
	}{
		{`publish: []`, `{}`, jwt.Permission{Deny: jwt.StringList{">"}}},
		{`publish: ">"`, `{}`, jwt.Permission{Allow: jwt.StringList{">"}}},
		{`publish {allow: [], deny: ["a"]}`, `{}`, jwt.Permission{Deny: jwt.StringList{">"}}},
		{`publish {allow: ">", deny: ["a.>", "b"]}`, `{}`, jwt.Permission{Allow: jwt.StringList{">"}, Deny: jwt.StringList{"a.>", "b"}}},
		{`publish: ["room.{{ session.rooms }}.>"]`, `{"rooms":["a","b"]}`, jwt.Permission{Allow: jwt.StringList{"room.a.>", "room.b.>"}}},
		{`publish: ["room.{{ session.rooms }}.>"]`, `{"rooms":[]}`, jwt.Permission{Deny: jwt.StringList{">"}}},
		{`publish: ["{{ session.a }}.{{ session.b }}"]`, `{"a":["x","y"],"b":[1,2]}`, jwt.Permission{Allow: jwt.StringList{"x.1", "x.2", "y.1", "y.2"}}},
		{`publish: ["u-{{ session.id }}-x.*"]`, `{"id":42}`, jwt.Permission{Allow: jwt.StringList{"u-42-x.*"}}},
		{`publish {allow: ">", deny: ["room.{{ session.rooms }}"]}`, `{"rooms":["a"]}`, jwt.Permission{Allow: jwt.StringList{">"}, Deny: jwt.StringList{"room.a"}}},
		{`publish {allow: ">", deny: ["room.{{ session.rooms }}"]}`, `{"rooms":[]}`, jwt.Permission{Allow: jwt.StringList{">"}, Deny: jwt.StringList{}}},
	} {
		got, err := mustParse(t, one(c.fields)).Match(data(t, c.data), cookie(), now)
		if err != nil {
			t.Errorf("no grant by %s: %v", c.fields, err)
			continue
		}
		if p := got.User.Pub; strings.Join(p.Allow, " ") != strings.Join(c.want.Allow, " ") || strings.Join(p.Deny, " ") != strings.Join(c.want.Deny, " ") {
			t.Errorf("%s: publish permissions %+v, want %+v", c.fields, p, c.want)
		}
		// Upstream takes a JWT without publish permissions for one that may publish everything.
		if got.User.Pub.Empty() || got.User.Sub.Empty() {
			t.Errorf("%s: a permission is empty, which allows everything", c.fields)
		}
	}
}

// A scoped grant gives a user without permissions and headers of its own.
func TestScoped(t *testing.T) {
	g := mustParse(t, `grants: [{ account: APP, scoped: true, user: "{{ session.user }}", tags: ["team:{{ session.team }}"], networks: "192.0.2.7" }]`)
	got, err := g.Match(data(t, `{"user":"alice","team":["a","b"]}`), cookie(), now)
	if err != nil {
		t.Fatal(err)
	}
	if !got.User.HasEmptyPermissions() || got.Claim != nil || got.User.Name != "alice" || len(got.User.Tags) != 2 {
		t.Errorf("expected a user without permissions and claim, with name and tags; found %+v", got)
	}
	for _, text := range []string{`{"user":"a.b","team":"x"}`, `{"user":"*","team":"x"}`} {
		_, err := g.Match(data(t, text), cookie(), now)
		refusal(t, err, "user", "token")
	}
	_, err = g.Match(data(t, `{"user":"a","team":">"}`), cookie(), now)
	refusal(t, err, "tags", "token")
}

func TestCredentialAndRequest(t *testing.T) {
	g := mustParse(t, one(`headers {
		C: "{{ credential ?? 'none' }}", K: "{{ request.credential }}", U: "{{ request.user == '' ? 'nobody' : request.user }}"
		A: "{{ request.headers['user-agent'] ?? 'unknown' }}", H: "{{ request.host }}", T: "{{ request.cookies.theme ?? 'light' }}"
	}`))
	password := session.Credential{Kind: session.Password, Username: "bob", Password: "hush", Value: ""}
	tossed := session.Credential{Kind: session.Cookie, Value: "v", Username: "mallory"}
	for _, c := range []struct {
		credential session.Credential
		want       string
	}{
		{password, "none password bob Mozilla/5.0 192.0.2.7 dark"},
		{tossed, "v cookie nobody Mozilla/5.0 192.0.2.7 dark"},
		{session.Credential{Kind: session.None}, "none none nobody Mozilla/5.0 192.0.2.7 dark"},
	} {
		r := cookie()
		r.Credential = c.credential
		got, err := g.Match(data(t, `{}`), r, now)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]string{}
		for _, h := range got.Claim.Headers {
			values[h.Name] = h.Values[0]
		}
		var all []string
		for _, name := range strings.Fields("C K U A H T") {
			all = append(all, values[name])
		}
		if got := strings.Join(all, " "); got != c.want {
			t.Errorf("the headers are %s, want %s", got, c.want)
		}
	}
}

// Results of different sessions, made at the same time, do not mix.
func TestMatchAtTheSameTime(t *testing.T) {
	g := mustParse(t, typical)
	var wg sync.WaitGroup
	for _, user := range []string{"alice", "bob", "carol", "dave"} {
		s := data(t, strings.Replace(admin, "alice", user, 1))
		wg.Go(func() {
			for range 200 {
				got, err := g.Match(s, cookie(), now)
				if err != nil || got.User.Name != user || got.Claim.Headers[3].Values[0] != user || got.User.Sub.Allow[0] != "_INBOX."+user+".>" {
					t.Errorf("%s got what another session is to have: %+v, error %v", user, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
