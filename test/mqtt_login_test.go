package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"golang.org/x/crypto/bcrypt"

	"stamp/test/harness"
)

// mqttLoginConf is a server whose handler finds users, user JWTs, and the sessions of cookies and tokens.
const mqttLoginConf = `
	server_name: M
	jetstream { store_dir: %q }
	mqtt { listen: "127.0.0.1:-1" }
	websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid, allowed_origins: ["http://app.test"] }
	accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
	callout {
		%s
		sessions: [
			{kind: users, users: [{user: alice, password: %q}]}
			{kind: jwt, issuers: [%s]}
			{kind: kv, bucket: sessions, account: APP}
		]
		grants: [
			{ when: 'source == "kv"', account: APP, publish: ">", subscribe: ">"
			  headers: {X-Login: "{{ source }} {{ request.credential }} {{ request.type }}", X-User: "{{ session.user }}"} }
			{ account: APP, publish: ">", subscribe: ">"
			  headers: {X-Login: "{{ source }} {{ request.credential }} {{ request.type }}"} }
		]
	}`

// devices numbers the client ids: two devices with one id would close each other's connection.
var devices atomic.Int64

// deviceOnTCP and deviceOnWebsocket try to connect a device, and return an error if it is refused.
func deviceOnTCP(t *testing.T, s *harness.Server, user, password string) (mqtt.Client, error) {
	t.Helper()
	return tryDevice(t, mqttOptions(t, "tcp://"+s.MQTT(t), user, password))
}

func deviceOnWebsocket(t *testing.T, s *harness.Server, user, password, cookie string) (mqtt.Client, error) {
	t.Helper()
	return tryDevice(t, mqttOptions(t, "ws://"+s.Websocket(t)+"/mqtt", user, password).
		SetHTTPHeaders(http.Header{"Origin": {"http://app.test"}, "Cookie": {cookie}}))
}

func mqttOptions(t *testing.T, broker, user, password string) *mqtt.ClientOptions {
	t.Helper()
	return mqtt.NewClientOptions().AddBroker(broker).SetClientID(fmt.Sprintf("%s-%d", t.Name(), devices.Add(1))).
		SetUsername(user).SetPassword(password).SetAutoReconnect(false).SetProtocolVersion(4)
}

func tryDevice(t *testing.T, o *mqtt.ClientOptions) (mqtt.Client, error) {
	t.Helper()
	c := mqtt.NewClient(o)
	token := c.Connect()
	if !token.WaitTimeout(harness.Timeout) {
		t.Fatal("mqtt: no answer to CONNECT")
	}
	t.Cleanup(func() { c.Disconnect(0) })
	return c, token.Error()
}

// A device logs in as other clients do: with user and password, with a user JWT, with a token, and from a page with its cookie.
func TestLoginOverMQTT(t *testing.T) {
	hash := must(bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost))
	account := &harness.Account{Name: "APP", Key: harness.NewAccountKey(t)}
	bearer, overTCP := bearerJWT(t, account), bearerJWT(t, account, jwt.ConnectionTypeMqtt)
	start := func(fields string) *harness.Server {
		s := harness.Start(t, fmt.Sprintf(mqttLoginConf, t.TempDir(), fields, hash, harness.Public(t, account.Key)))
		login(t, sessionBucket(t, s), "s1", alice())
		return s
	}
	s := start("request {}")
	sub := subscribed(t, s, userInfo("backend"))
	for name, tt := range map[string]struct {
		connect func() (mqtt.Client, error)
		want    string // source and kind; empty: refused
	}{
		"password":                          {func() (mqtt.Client, error) { return deviceOnTCP(t, s, "alice", "open") }, "users password"},
		"wrong password":                    {func() (mqtt.Client, error) { return deviceOnTCP(t, s, "alice", "shut") }, ""},
		"user JWT":                          {func() (mqtt.Client, error) { return deviceOnTCP(t, s, "any", bearer) }, "jwt jwt"},
		"user JWT for MQTT":                 {func() (mqtt.Client, error) { return deviceOnTCP(t, s, "any", overTCP) }, "jwt jwt"},
		"websocket, user JWT for MQTT":      {func() (mqtt.Client, error) { return deviceOnWebsocket(t, s, "any", overTCP, "") }, ""},
		"token":                             {func() (mqtt.Client, error) { return deviceOnTCP(t, s, "any", "s1") }, "kv token"},
		"user alone":                        {func() (mqtt.Client, error) { return deviceOnTCP(t, s, "alice", "") }, ""},
		"nothing":                           {func() (mqtt.Client, error) { return deviceOnTCP(t, s, "", "") }, ""},
		"websocket, password":               {func() (mqtt.Client, error) { return deviceOnWebsocket(t, s, "alice", "open", "") }, "users password"},
		"websocket, cookie":                 {func() (mqtt.Client, error) { return deviceOnWebsocket(t, s, "", "", "sid=s1") }, "kv cookie"},
		"websocket, password beside cookie": {func() (mqtt.Client, error) { return deviceOnWebsocket(t, s, "alice", "open", "sid=s1") }, "users password"},
		"websocket, two cookies":            {func() (mqtt.Client, error) { return deviceOnWebsocket(t, s, "", "", "sid=s1; sid=s2") }, ""},
		"websocket, unknown cookie":         {func() (mqtt.Client, error) { return deviceOnWebsocket(t, s, "", "", "sid=s2") }, ""},
	} {
		t.Run(name, func(t *testing.T) { expectLogin(t, tt.connect, sub, tt.want) })
	}
	// Kinds that the configuration does not list are refused.
	s = start("credential: [cookie]")
	sub = subscribed(t, s, userInfo("backend"))
	expectLogin(t, func() (mqtt.Client, error) { return deviceOnTCP(t, s, "alice", "open") }, sub, "")
	expectLogin(t, func() (mqtt.Client, error) { return deviceOnTCP(t, s, "any", "s1") }, sub, "")
	expectLogin(t, func() (mqtt.Client, error) { return deviceOnWebsocket(t, s, "", "", "sid=s1") }, sub, "kv cookie")
}

// expectLogin reports whether a device gets in, and by which source and kind of credential.
func expectLogin(t *testing.T, connect func() (mqtt.Client, error), sub *nats.Subscription, want string) {
	t.Helper()
	c, err := connect()
	if want == "" || err != nil {
		if (want == "") != (err != nil) {
			t.Errorf("expected the login to be refused: %t; found error %v", want == "", err)
		}
		return
	}
	wait(t, c.Publish("t/x", 0, false, "payload"))
	if m := next(t, sub, nil); m.Header.Get("X-Login") != want+" mqtt" {
		t.Errorf("the device logged in by %q, want %s mqtt", m.Header.Get("X-Login"), want)
	}
}

// A page's MQTT connection is renewed with its cookie, and ends with the session.
func TestRenewalOfMQTTWithACookie(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(mqttLoginConf, t.TempDir(), "request {}", "$2a$04$jRLJrPHoeTwJxcQsWSujpesDliE1Oxx6EJa.b/3LaSMM4X2POF2IC",
		harness.Public(t, harness.NewAccountKey(t))))
	bucket := sessionBucket(t, s)
	login(t, bucket, "s1", alice())
	sub := subscribed(t, s, userInfo("backend"))
	c, err := deviceOnWebsocket(t, s, "", "", "sid=s1")
	if err != nil {
		t.Fatal(err)
	}
	login(t, bucket, "s1", map[string]any{"user": "bob"})
	harness.Eventually(t, "the stamp of the changed session", func() bool {
		wait(t, c.Publish("t/x", 0, false, "payload"))
		return next(t, sub, nil).Header.Get("X-User") == "bob"
	})
	if err := bucket.Delete(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the end of the connection", func() bool { return !c.IsConnectionOpen() })
}

// bearerJWT is a user JWT that needs no signature of a nonce, which MQTT does not have.
func bearerJWT(t *testing.T, account *harness.Account, types ...string) string {
	t.Helper()
	uc := jwt.NewUserClaims(harness.Public(t, harness.NewUserKey(t)))
	uc.Name, uc.BearerToken, uc.AllowedConnectionTypes = "device", true, types
	return must(uc.Encode(account.Key))
}

// In operator mode a device has no room for a sentinel beside its password: the server's default_sentinel leads to the
// callout.
func TestLoginOverMQTTInOperatorMode(t *testing.T) {
	o := newCalloutOperator(t, harness.NewXKey(t))
	xkey := harness.NewXKey(t)
	o.auth.Claims.Authorization.XKey = harness.Public(t, xkey)
	o.app.Claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	sentinel := o.auth.User(t, "sentinel", nil, harness.Bearer)
	s := harness.Start(t, o.Conf(t)+fmt.Sprintf(`
		server_name: M
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		default_sentinel: %s`, t.TempDir(), sentinel.JWT))
	keys := fmt.Sprintf("issuer: %s\nxkey: %s\nsigning_keys { APP: {account: %s, seed: %s} }",
		harness.Seed(t, o.auth.Key), harness.Seed(t, xkey), o.app.ID(), harness.Seed(t, o.app.Key))
	harness.StartCallout(t, handlerConf(t, s, fmt.Sprintf("creds: %q", o.service.Creds(t)), keys, "APP"))
	sub := subscribed(t, s, o.app.User(t, "sub", nil).Options()...)
	c, err := deviceOnTCP(t, s, "alice", "open")
	if err != nil {
		t.Fatal(err)
	}
	wait(t, c.Publish("t/x", 0, false, "payload"))
	if m := next(t, sub, nil); m.Header.Get("X-User") != "alice" {
		t.Errorf("expected X-User: alice; the message has %v", m.Header)
	}
	for user, password := range map[string]string{"alice": "shut", "sentinel": sentinel.JWT, "": ""} {
		if _, err := deviceOnTCP(t, s, user, password); err == nil {
			t.Errorf("user %q gets in, though its credential is not valid", user)
		}
	}
	// A user JWT of the account itself needs no callout.
	c, err = deviceOnTCP(t, s, "any", o.app.User(t, "direct", header("X-User", "direct"), harness.Bearer).JWT)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, c.Publish("t/x", 0, false, "payload"))
	if m := next(t, sub, nil); m.Header.Get("X-User") != "direct" {
		t.Errorf("expected X-User: direct; the message has %v", m.Header)
	}
}

// A no_auth_user is refused if pages can connect with a cookie, because it would turn such a page into a guest. Otherwise it is
// allowed.
func TestGuestsOverMQTT(t *testing.T) {
	const handler = `callout { %s, sessions: [{kind: http, url: "http://127.0.0.1:1"}], grants: [{account: APP, publish: ">", subscribe: []}] }`
	for _, tt := range []struct{ guests, mqtt, cookie, callout, want string }{
		{"no_auth_user: guest", "", "token_cookie: sid", fmt.Sprintf(handler, "credential: [cookie, token]"), ": no_auth_user would make a guest of a page"},
		{"no_auth_user: guest", "", "token_cookie: sid", "callout { request {} }", ": no_auth_user would make a guest of a page"},
		{"", ", no_auth_user: guest", "token_cookie: sid", fmt.Sprintf(handler, "credential: [cookie]"), "mqtt.no_auth_user would make a guest of a page"},
		{"no_auth_user: guest", "", "token_cookie: sid", fmt.Sprintf(handler, "credential: [token]"), ""},
		{"no_auth_user: guest", "", "", fmt.Sprintf(handler, "credential: [token]"), ""},
	} {
		conf := fmt.Sprintf(`
			listen: "127.0.0.1:-1"
			server_name: M
			jetstream { store_dir: %q }
			accounts { APP { jetstream: enabled, users: [{user: guest, password: guest}] } }
			%s
			mqtt { listen: "127.0.0.1:-1" %s }
			websocket { listen: "127.0.0.1:-1", no_tls: true, same_origin: true, %s }
			%s`, t.TempDir(), tt.guests, tt.mqtt, tt.cookie, tt.callout)
		s := harness.Launch(t, conf)
		if tt.want == "" {
			s.WaitLog(t, "Server is ready")
			continue
		}
		if code := s.Exit(t); code == 0 || !strings.Contains(s.Text(), tt.want) {
			t.Errorf("expected the server not to start with %q; found exit code %d:\n%s", tt.want, code, s.Text())
		}
	}
}

// A grant that binds client ids to users, as in docs/mqtt.md, keeps other users from closing a device's connection.
func TestClientIDsBoundToUsers(t *testing.T) {
	hash := must(bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost))
	s := harness.Start(t, fmt.Sprintf(`
		server_name: M
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		accounts { APP { jetstream: enabled, users: [] } }
		callout {
			sessions: [{kind: users, users: [{user: d1, password: %q}, {user: d2, password: %q}]}]
			grants: [{
				name: device, account: APP, publish: "t", subscribe: []
				when: 'source == "users" && request.type == "mqtt" && hasPrefix(request.mqtt_id, session.user + "-")'
			}]
		}`, t.TempDir(), hash, hash))
	device := func(user, id string) (mqtt.Client, error) {
		return tryDevice(t, mqttOptions(t, "tcp://"+s.MQTT(t), user, "open").SetClientID(id))
	}
	first, err := device("d1", "d1-a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := device("d2", "d1-a"); err == nil {
		t.Error("another user could connect with the device's id")
	}
	wait(t, first.Publish("t", 1, false, "still there"))
	if _, err := device("d2", "d2-a"); err != nil {
		t.Error(err)
	}
}
