package test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"stamp/test/harness"
)

// The log shows no secret of a CONNECT, however the client spells its fields: the server reads them
// whatever their case, and with escapes.
func TestTraceOfAConnectShowsNoSecret(t *testing.T) {
	app := startApplication(t)
	s := harness.Start(t, liveConf{url: app.url, top: "max_traced_msg_len: 100000"}.String(), "-DV")
	for i, connect := range []string{
		`CONNECT {"auth_token":"%s"}`,
		`CONNECT {"AUTH_TOKEN":"%s"}`,
		`CONNECT {"auth\u005ftoken":"%s"}`,
		`CONNECT {"auth_token" : "%s"}`,
		`CONNECT {"auth_token":"%s"`,
		`CONNECT {"auth_token":"a\"%s"}`,
		`CONNECT {"pass":"%s","user":"u"}`,
		`CONNECT {"Pass":"%s","user":"u"}`,
		`CONNECT {"pa\u0073s":"%s"}`,
		`CONNECT {"jwt":"%s"}`,
		`CONNECT {"auth_token":"x","auth_token":"%s"}`,
		`CONNECT {"auth_token":["%s"]}`,
		`CONNECT {"auth_token":"%s","tls_required":"x"}`,
		`connect {"auth_token":"%s"}`,
		`CONNECT {"pa\u0073s":"%s"`,
		`CONNECT {"user":"u"}{"pa\u0073s":"%s"}`,
		`CONNECT [{"pa\u0073s":"%s"}]`,
		`CONNECT {"user":"u",}"pass":"%s"`,
		`CONNECT auth_token=%s`,
		`CONNECT {'pass':'%s'}`,
	} {
		secret := fmt.Sprintf("planted%02d", i)
		mark := s.Mark()
		raw := harness.Dial(t, s)
		raw.Send(connect+"\r\n", secret)
		pings(raw, "")
		raw.Close()
		mark.WaitLog(t, "connection closed")
		if strings.Contains(mark.Text(), secret) {
			t.Errorf("%s: the log has the secret", connect)
		}
	}
}

// The same for a JWT, whose claim has the values of headers.
func TestTraceOfAConnectShowsNoJWT(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "A")
	s := harness.Start(t, op.Conf(t), "-DV")
	for name, replace := range map[string][2]string{
		"plain":             {"", ""},
		"upper case":        {`"jwt"`, `"JWT"`},
		"escaped name":      {`"jwt"`, `"j\u0077t"`},
		"two":               {`{`, `{"jwt":"x",`},
		"escaped character": {`"jwt":"e`, `"jwt":"\u0065`},
	} {
		user := acc.User(t, "u", header("Session", "planted"), harness.Bearer)
		claims := strings.Split(user.JWT, ".")[1]
		if text, err := base64.RawURLEncoding.DecodeString(claims); err != nil || !strings.Contains(string(text), "planted") {
			t.Fatal("the JWT has no value, so that this test shows nothing")
		}
		connect := fmt.Sprintf(`{"verbose":false,"headers":true,"protocol":1,"jwt":%q}`, user.JWT)
		mark := s.Mark()
		raw := harness.Dial(t, s)
		raw.Send("CONNECT %s\r\n", strings.Replace(connect, replace[0], replace[1], 1))
		if !pings(raw, "") {
			t.Errorf("%s: the server refused the connection", name)
		}
		raw.Close()
		mark.WaitLog(t, "connection closed")
		if strings.Contains(mark.Text(), claims[1:]) {
			t.Errorf("%s: the log has the JWT", name)
		}
	}
}
