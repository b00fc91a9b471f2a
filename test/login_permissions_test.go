package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"stamp/test/harness"
)

// The user of nats-callout may do what docs/login.md and docs/callout.md say that a login source needs, and nothing else: the
// handler makes its buckets, logs a visitor in, refreshes the token, takes a ticket and ends the session.
func TestLoginWithTheDocumentedPermissions(t *testing.T) {
	publish := []string{"$SYS.REQ.USER.INFO", "_STAMP.CALLOUT.stamp-callout", "$JS.API.INFO"}
	for _, bucket := range []string{"logins", "logins-index"} {
		for _, subject := range []string{"STREAM.INFO.KV_b", "DIRECT.GET.KV_b.>", "STREAM.MSG.GET.KV_b", "CONSUMER.CREATE.KV_b.>", "CONSUMER.DELETE.KV_b.>",
			"CONSUMER.MSG.NEXT.KV_b.>", "STREAM.CREATE.KV_b"} {
			publish = append(publish, "$JS.API."+strings.Replace(subject, "KV_b", "KV_"+bucket, 1))
		}
		publish = append(publish, "$KV."+bucket+".>")
	}
	c := newLoginConfAtProvider(t)
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: session, allowed_origins: ["http://app.test"] }
		accounts {
			AUTH { jetstream: enabled, users: [{user: auth, password: auth, permissions: {
				publish: ["%s"], subscribe: ["_INBOX.>", "$SYS.REQ.USER.AUTH", "_STAMP.CALLOUT.stamp-callout"], allow_responses: true}}] }
			APP { users: [{user: backend, password: backend}] }
		}
		authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, backend] } }`, c.store, strings.Join(publish, `", "`), harness.Public(t, issuer)), "-DV")
	h := harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%s"], user: auth, password: auth }
		issuer: %s
		sessions: [{
			kind: login, listen: %q, public_url: %q, issuer: %q, client_id: web, client_secret: secret
			scopes: [profile, email, offline_access], bucket: logins, key_file: %q
			refresh_before: 295s, ticket: 10s
		}]
		grants: [{account: APP, publish: ">", subscribe: ">", expires: 1h, headers: {Authorization: "Bearer {{ session.access_token }}"}}]`,
		s.Addr(t), harness.Seed(t, issuer), c.address, c.url, c.issuer, c.key))
	v := newVisitor(t, c.url)
	v.logIn(t, c.issuer)
	sub := subscriber(t, s, password("backend"))
	bearer := func() string {
		tab := mustBrowse(t, s, cookies("session="+v.cookie()), harness.Nobody)
		tab.Pub("t.x", "payload")
		return sub.Msg().Lines()[0]
	}
	first := bearer()
	harness.Eventually(t, "another access token for a new connection", func() bool { return bearer() != first })
	var issued struct{ Ticket string }
	v.ask(t, http.MethodPost, "/ticket", &issued)
	mustBrowse(t, s, http.Header{}, token(issued.Ticket))
	expectBrowserRefused(t, s, http.Header{}, token(issued.Ticket))
	cookie := v.cookie()
	var out struct {
		LoggedOut bool `json:"logged_out"`
	}
	if v.ask(t, http.MethodPost, "/logout", &out); !out.LoggedOut {
		t.Error("the logout failed")
	}
	expectBrowserRefused(t, s, cookies("session="+cookie), harness.Nobody)
	for who, text := range map[string]string{"server": s.Text(), "handler": h.Text()} {
		if strings.Contains(strings.ToLower(text), "permissions violation") {
			t.Errorf("the log of the %s has a permission that is missing", who)
		}
	}
}
