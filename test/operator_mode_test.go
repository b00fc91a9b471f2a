package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// operatorHandler runs nats-callout for the accounts AUTH and APP of an operator, whose own keys sign.
func operatorHandler(t *testing.T, o *calloutOperator, s *harness.Server, sessions string) *harness.Process {
	t.Helper()
	return harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%s"], creds: %q, system { creds: %q } }
		issuer: %s
		signing_keys { APP: {account: %s, seed: %s} }
		%s`, s.Addr(t), o.service.Creds(t), o.Sys.User(t, "handler", nil).Creds(t), harness.Seed(t, o.auth.Key), o.app.ID(), harness.Seed(t, o.app.Key), sessions))
}

// behind is the credential of a client that presents a sentinel, and fields of its own.
func behind(sentinel *harness.User, own map[string]any) harness.Credential {
	return func(nonce string) map[string]any {
		fields := sentinel.Credential(nonce)
		for name, value := range own {
			fields[name] = value
		}
		return fields
	}
}

var aliceAlone = `
	sessions: [{kind: users, users: [{user: alice, password: "$2a$04$jRLJrPHoeTwJxcQsWSujpesDliE1Oxx6EJa.b/3LaSMM4X2POF2IC"}]}]
	grants: [{account: APP, user: "{{ session.user }}", publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]`

// alicesPassword is that of aliceAlone.
var alicesPassword = map[string]any{"user": "alice", "pass": "wonderland"}

// The bucket of the sessions is in the callout's account. The application's user there has the permissions of
// docs/operator-mode.md: it makes the bucket and writes sessions, and gets no callout.
func TestBucketInOperatorMode(t *testing.T) {
	o := newCalloutOperator(t, nil)
	o.auth.Claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: 1e9, Streams: -1, Consumer: -1}
	app := o.auth.User(t, "app", nil, func(uc *jwt.UserClaims) {
		uc.Sub.Allow.Add("_INBOX_app.>")
		uc.Pub.Allow.Add("$KV.sessions.>", "$JS.API.INFO", "$JS.API.STREAM.*.KV_sessions", "$JS.API.DIRECT.GET.KV_sessions.>",
			"$JS.API.CONSUMER.*.KV_sessions.>", "$JS.API.CONSUMER.MSG.NEXT.KV_sessions.>")
	})
	stranger := o.auth.User(t, "stranger", nil)
	o.auth.Claims.Authorization.AuthUsers.Add(harness.Public(t, app.Key))
	s := harness.Start(t, o.Conf(t)+fmt.Sprintf("jetstream { store_dir: %q }", t.TempDir()))
	operatorHandler(t, o, s, `
		sessions: [{kind: kv, bucket: sessions}]
		grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]`)
	nc := s.Connect(t, append(app.Options(), nats.CustomInboxPrefix("_INBOX_app"))...)
	bucket := bucketOf(t, nc)
	login(t, bucket, "one", alice())
	if entry, err := bucket.Get(t.Context(), "one"); err != nil || len(entry.Value()) == 0 {
		t.Errorf("the application reads its entry: %v", err)
	}
	sentinel := o.auth.User(t, "sentinel", nil)
	cred := behind(sentinel, map[string]any{"auth_token": "one"})
	harness.Eventually(t, "the handler knows the bucket", func() bool {
		c, err := s.TryConnect(t, append(sentinel.Options(), nats.Token("one"))...)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	sub := subscriber(t, s, o.app.User(t, "sub", nil).Credential)
	live := harness.Client(t, s, cred)
	expectStamp(t, live, sub, "X-User: alice")
	for _, subject := range []string{"$SYS.REQ.USER.AUTH", ">", "_INBOX.>"} {
		listening, err := nc.SubscribeSync(subject)
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "the refusal of "+subject, func() bool { return !listening.IsValid() || nc.LastError() != nil })
	}
	// The server asks the callout about everybody who is not listed as one of its users.
	expectRefused(t, s, stranger.Credential)
	if err := bucket.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	live.ExpectClosed()
}

// The same if the application has the bucket in its own account, in which the handler has a login.
func TestBucketOfTheApplicationInOperatorMode(t *testing.T) {
	o := newCalloutOperator(t, nil)
	o.app.Claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: 1e9, Streams: -1, Consumer: -1}
	s := harness.Start(t, o.Conf(t)+fmt.Sprintf("jetstream { store_dir: %q }", t.TempDir()))
	app := o.app.User(t, "app", nil)
	harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%s"], creds: %q, system { creds: %q }, accounts { APP { creds: %q } } }
		issuer: %s
		signing_keys { APP: {account: %s, seed: %s} }
		sessions: [{kind: kv, bucket: sessions, account: APP}]
		grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]`,
		s.Addr(t), o.service.Creds(t), o.Sys.User(t, "handler", nil).Creds(t), app.Creds(t), harness.Seed(t, o.auth.Key), o.app.ID(), harness.Seed(t, o.app.Key)))
	bucket := bucketOf(t, s.Connect(t, app.Options()...))
	login(t, bucket, "one", alice())
	sentinel := o.auth.User(t, "sentinel", nil)
	eventuallyIn(t, s, append(sentinel.Options(), nats.Token("one"))...)
	live := harness.Client(t, s, behind(sentinel, map[string]any{"auth_token": "one"}))
	expectStamp(t, live, subscriber(t, s, app.Credential), "X-User: alice")
	if err := bucket.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	live.ExpectClosed()
}

// 500 connections are renewed at once while others come, and no connection is closed.
func TestRenewalOfManyAtOnce(t *testing.T) {
	v := startService(t, nil)
	v.set(func(_ asked, uc *jwt.UserClaims) error { uc.Name = "carol"; return nil })
	const many = 500
	var all []*nats.Conn
	for range many {
		all = append(all, v.Connect(t, userInfo("carol")))
	}
	if n := ask(t, v.Server, forwarded.Renew{All: true}); n != many {
		t.Errorf("the request to renew concerned %d connections, want 500", n)
	}
	for range 50 {
		all = append(all, v.Connect(t, userInfo("carol")))
	}
	nc := v.Connect(t, userInfo("sys"))
	harness.Eventually(t, "all renewals", func() bool {
		return strings.Contains(string(request(t, nc, forwarded.RenewAll, `{"pending":true}`).Data), `"pending":0`)
	})
	if n := v.renewals(); n < many || n > many+50 {
		t.Errorf("%d renewals of %d connections, want one for each, and few more", n, many)
	}
	for _, c := range all {
		if err := c.FlushTimeout(harness.Timeout); err != nil {
			t.Fatalf("a renewal closed a connection: %v", err)
		}
	}
}

// If an account is deleted, its live connections are closed and nobody gets into it. The server and the handler continue.
func TestAccountDeletedUnderLiveConnections(t *testing.T) {
	o := newCalloutOperator(t, nil)
	s := harness.Start(t, o.PushConf(t))
	operatorHandler(t, o, s, aliceAlone)
	cred := behind(o.auth.User(t, "sentinel", nil), alicesPassword)
	live := []*harness.Raw{harness.Client(t, s, cred), harness.Client(t, s, cred)}
	sys := s.Connect(t, o.Sys.User(t, "sys", nil).Options()...)
	deletion := jwt.NewGenericClaims(harness.Public(t, o.Key))
	deletion.Data = map[string]any{"accounts": []string{o.app.ID()}}
	if m := request(t, sys, "$SYS.REQ.CLAIMS.DELETE", must(deletion.Encode(o.Key))); !strings.Contains(string(m.Data), `"code":200`) {
		t.Fatalf("the server did not delete the account: %s", m.Data)
	}
	for _, q := range []string{`{"all":true,"account":"` + o.app.ID() + `"}`, `{"user":"alice","kick":true}`} {
		if got := string(request(t, sys, forwarded.RenewAll, q).Data); strings.Contains(got, `"error"`) {
			t.Errorf("the request %s failed after the account was deleted: %s", q, got)
		}
	}
	for _, c := range live {
		c.ExpectClosed()
	}
	expectRefused(t, s, cred)
	// The server would ignore the same JWT as before.
	o.app.Claims.Description = "again"
	o.app.Push(t, s)
	harness.Eventually(t, "the account is there again", func() bool {
		raw := harness.Dial(t, s)
		defer raw.Close()
		raw.Connect(cred)
		raw.Send("PING\r\n")
		for {
			if line, err := raw.Line(); err != nil || strings.HasPrefix(line, "PONG") {
				return err == nil
			}
		}
	})
}

// The resolver asks a web server. If a callout puts users into an account that the server has yet to fetch, they are let in,
// and refused while the server cannot fetch it.
func TestCalloutsWithAURLResolver(t *testing.T) {
	o := newCalloutOperator(t, nil)
	tokens := map[string]string{"/" + o.auth.ID(): o.auth.JWT(t), "/" + o.app.ID(): o.app.JWT(t), "/" + o.Sys.ID(): o.Sys.JWT(t)}
	var there atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := tokens[r.URL.Path]
		if r.URL.Path == "/" { // the server asks for it at start
			return
		}
		if !ok || r.URL.Path == "/"+o.app.ID() && !there.Load() {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, token)
	}))
	t.Cleanup(web.Close)
	conf, _, _ := strings.Cut(o.Conf(t), "resolver_preload")
	s := harness.Start(t, strings.Replace(conf, "resolver: MEMORY", fmt.Sprintf("resolver: URL(%s/)", web.URL), 1))
	operatorHandler(t, o, s, aliceAlone)
	cred := behind(o.auth.User(t, "sentinel", nil), alicesPassword)
	expectRefused(t, s, cred)
	there.Store(true)
	raw := harness.Client(t, s, cred)
	expectStamp(t, raw, subscriber(t, s, o.app.User(t, "sub", nil).Credential), "X-User: alice")
}

// A server with a cache resolver asks other servers for accounts. A callout puts users into an account that the server has yet
// to fetch. An update of the account closes those connections whose users or signing keys it removes.
func TestCalloutsWithACacheResolver(t *testing.T) {
	o := newCalloutOperator(t, nil)
	key := o.app.SigningKey(t)
	full := harness.Start(t, o.PushConf(t)+`
		server_name: full
		cluster { name: C, listen: "127.0.0.1:-1" }`)
	conf, _, _ := strings.Cut(o.Conf(t), "resolver: MEMORY")
	cache := harness.Start(t, conf+fmt.Sprintf(`
		server_name: cache
		resolver: {type: cache, dir: %q, ttl: "1h", timeout: "5s"}
		resolver_preload: {%s: %s}
		cluster { name: C, listen: "127.0.0.1:-1", routes: ["nats://%s"] }`, t.TempDir(), o.Sys.ID(), o.Sys.JWT(t), full.Route(t)))
	expectReach(t, []*harness.Server{full, cache}, o.Sys.User(t, "pinger", nil).Options()...)
	harness.StartCallout(t, fmt.Sprintf(`
		user_key: user
		connect { urls: ["nats://%s"], creds: %q }
		issuer: %s
		signing_keys { APP: {account: %s, seed: %s} }
		%s`, full.Addr(t), o.service.Creds(t), harness.Seed(t, o.auth.Key), o.app.ID(), harness.Seed(t, key), aliceAlone))
	sentinel := o.auth.User(t, "sentinel", nil)
	cred := behind(sentinel, alicesPassword)
	letIn := append(sentinel.Options(), nats.UserInfo("alice", "wonderland"))
	eventuallyIn(t, cache, letIn...)
	live := harness.Client(t, cache, cred)
	expectStamp(t, live, subscriber(t, cache, o.app.User(t, "sub", nil).Credential), "X-User: alice")
	keyOf := ""
	for _, c := range cache.Connz(t, "auth=1").Conns {
		if found, ok := forwarded.UserKeyOf(c.Tags); ok {
			keyOf = found
		}
	}
	o.app.Claims.RevokeAt(keyOf, time.Now())
	o.app.Push(t, full)
	live.ExpectClosed()
	eventuallyIn(t, cache, letIn...) // revocations are of whole seconds
	live = harness.Client(t, cache, cred)
	o.app.Claims.SigningKeys = jwt.SigningKeys{}
	o.app.Push(t, full)
	live.ExpectClosed()
	expectRefused(t, cache, cred)
}
