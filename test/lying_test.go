package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/test/harness"
)

// liar is an auth callout that answers as its lie says.
type liar struct {
	t                     *testing.T
	issuer, stranger      nkeys.KeyPair
	xkey, strangerXKey    nkeys.KeyPair
	serverXKey            string
	earlier, earlierToken []byte // answer and user JWT of a connection before
}

// told is a response to a request, and the parts that it is made of.
type told struct {
	req      *jwt.AuthorizationRequestClaims
	user     *jwt.UserClaims
	response *jwt.AuthorizationResponseClaims
	// userKey and key sign them.
	userKey, key nkeys.KeyPair
	claim        *claim.Claim
	// If they are set, token and data replace what is made of these parts.
	token string
	data  []byte
}

// lies are answers that must let nobody in.
var lies = map[string]func(l *liar, a *told){
	"another signer of the answer":   func(l *liar, a *told) { a.key = l.stranger },
	"another signer of the user JWT": func(l *liar, a *told) { a.userKey = l.stranger },
	"another server's audience":      func(_ *liar, a *told) { a.response.Audience = "ND" + strings.Repeat("A", 54) },
	"no audience":                    func(_ *liar, a *told) { a.response.Audience = "" },
	"another connection's answer":    func(l *liar, a *told) { a.response.Subject = harness.Public(l.t, harness.NewUserKey(l.t)) },
	"another connection's user JWT":  func(l *liar, a *told) { a.token = string(l.earlierToken) },
	"an answer from before":          func(l *liar, a *told) { a.data = l.earlier },
	"an account that is not there":   func(_ *liar, a *told) { a.user.Audience = "NOWHERE" },
	"no account":                     func(_ *liar, a *told) { a.user.Audience = "" },
	"a user JWT that has ended":      func(_ *liar, a *told) { a.user.Expires = time.Now().Add(-time.Hour).Unix() },
	"a user JWT that begins later":   func(_ *liar, a *told) { a.user.NotBefore = time.Now().Add(time.Hour).Unix() },
	"an answer that has ended":       func(_ *liar, a *told) { a.response.Expires = time.Now().Add(-time.Hour).Unix() },
	"an account's JWT":               func(l *liar, a *told) { a.token = accountJWT(l) },
	"nothing":                        func(_ *liar, a *told) { a.data = []byte{} },
	"garbage":                        func(_ *liar, a *told) { a.data = []byte("\x00\xff..") },
	"encrypted by a stranger":        func(l *liar, a *told) { a.data = l.sealed(l.strangerXKey, l.signed(a)) },
	"without a signature":            func(l *liar, a *told) { a.data = l.sealed(l.xkey, unsigned(l.signed(a))) },
	"half of it":                     func(l *liar, a *told) { s := l.signed(a); a.data = l.sealed(l.xkey, s[:len(s)/2]) },
	"an error and a user JWT":        func(_ *liar, a *told) { a.response.Error = "no" },
	"neither error nor user JWT":     func(_ *liar, a *told) { a.token = "-" },
	"a claim that is too large": func(_ *liar, a *told) {
		a.claim = header("Session", strings.Repeat("x", claim.MaxBlock+1))
	},
	"a huge answer": func(_ *liar, a *told) {
		a.claim = header("Session", strings.Repeat("x", 700_000))
	},
}

func accountJWT(l *liar) string {
	token, err := jwt.NewAccountClaims(harness.Public(l.t, l.issuer)).Encode(l.issuer)
	if err != nil {
		l.t.Error(err)
	}
	return token
}

func unsigned(token string) string {
	return token[:strings.LastIndexByte(token, '.')+1]
}

// signed is the answer's JWT. Nothing in it is checked here.
func (l *liar) signed(a *told) string {
	if a.response.Jwt = a.token; a.token == "" {
		var err error
		if a.response.Jwt, err = claim.Encode(a.user, nil, a.userKey); err != nil {
			l.t.Error(err)
		}
		if a.claim != nil {
			// Encode refuses a claim that is not valid.
			a.response.Jwt = harness.Resign(l.t, a.response.Jwt, a.userKey, func(payload map[string]any) {
				payload["nats"].(map[string]any)["headers"] = map[string]any{a.claim.Headers[0].Name: a.claim.Headers[0].Values}
			})
		}
	} else if a.token == "-" {
		a.response.Jwt = ""
	}
	token, err := a.response.Encode(a.key)
	if err != nil {
		l.t.Error(err)
	}
	return token
}

func (l *liar) sealed(key nkeys.KeyPair, token string) []byte {
	if key == nil {
		return []byte(token)
	}
	data, err := key.Seal([]byte(token), l.serverXKey)
	if err != nil {
		l.t.Error(err)
	}
	return data
}

// respond gives the right answer if the token names no lie.
func (l *liar) respond(m *nats.Msg) {
	l.serverXKey = m.Header.Get("Nats-Server-Xkey")
	data := m.Data
	if l.xkey != nil {
		var err error
		if data, err = l.xkey.Open(m.Data, l.serverXKey); err != nil {
			l.t.Error(err)
			return
		}
	}
	req, err := jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil {
		l.t.Error(err)
		return
	}
	a := &told{req: req, user: jwt.NewUserClaims(req.UserNkey), response: jwt.NewAuthorizationResponseClaims(req.UserNkey), userKey: l.issuer, key: l.issuer}
	a.user.Audience, a.response.Audience = "APP", req.Server.ID
	a.claim = header("Session", "true")
	if lie := lies[req.ConnectOptions.Token]; lie != nil {
		lie(l, a)
	}
	if a.data == nil {
		a.data = l.sealed(l.xkey, l.signed(a))
	}
	if req.ConnectOptions.Token == "honest" {
		l.earlier, l.earlierToken = a.data, []byte(a.response.Jwt)
	}
	_ = m.Respond(a.data) // above max_payload: then there is no answer
	if req.ConnectOptions.Token == "honest" {
		a.claim = header("Session", "second answer")
		second := l.sealed(l.xkey, l.signed(a))
		for range 10 { // one may come while the first is worked on
			_ = m.Respond(second)
		}
	}
}

// A connection about which the callout lies is refused. Others are let in before and after it, with the first answer.
func TestLyingCallout(t *testing.T) {
	t.Run("plain", func(t *testing.T) { lyingCallout(t, nil, "encrypted by a stranger") })
	// A liar that can encrypt has the xkey: upstream then does not check who signed the answer.
	t.Run("xkey", func(t *testing.T) { lyingCallout(t, harness.NewXKey(t), "another signer of the answer") })
}

func lyingCallout(t *testing.T, xkey nkeys.KeyPair, noLie string) {
	l := &liar{t: t, issuer: harness.NewAccountKey(t), stranger: harness.NewAccountKey(t), xkey: xkey, strangerXKey: harness.NewXKey(t)}
	field := ""
	if xkey != nil {
		field = "xkey: " + harness.Public(t, xkey)
	}
	s := harness.Start(t, fmt.Sprintf(`
		accounts { AUTH { users: [{user: auth, password: auth}] }, APP { users: [{user: sub, password: sub}] } }
		authorization { timeout: 1, auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sub], %s } }`,
		harness.Public(t, l.issuer), field))
	service := s.Connect(t, userInfo("auth"))
	if _, err := service.Subscribe("$SYS.REQ.USER.AUTH", l.respond); err != nil {
		t.Fatal(err)
	}
	if err := service.Flush(); err != nil {
		t.Fatal(err)
	}
	sub := subscriber(t, s, password("sub"))
	honest := func() {
		expectStamp(t, harness.Client(t, s, token("honest")), sub, "Session: true")
	}
	honest()
	for name := range lies {
		if name == noLie {
			continue
		}
		t.Run(name, func(t *testing.T) {
			raw := harness.Dial(t, s)
			raw.Connect(token(name))
			raw.Send("PUB t.lie 1\r\nx\r\n")
			if lines := raw.ExpectClosed(); !strings.HasPrefix(strings.Join(lines, "\n"), "-ERR 'Auth") {
				t.Errorf("the connection is not refused; got %d lines", len(lines))
			}
		})
	}
	honest() // and nothing that a liar's connection published came before it
}
