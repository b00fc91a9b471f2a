package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp.example/claim"
	"stamp/test/harness"
)

// planted is in every refused claim. It must not be seen anywhere.
const planted = "planted-7f1c-secret"

type fields = map[string]any

// refusals are claims for which a connection is refused, and the text that the log
// and the event must have. The servers allow 3 headers and 500 bytes.
var refusals = []struct {
	name, fault string
	nats, top   any // headers in the nats object, and beside it
}{
	{"bad name", `header "a b": name has a character other than letters`, fields{"a b": planted}, nil},
	{"empty name", "name of a header is empty", fields{"": planted}, nil},
	{"reserved prefix", `header "nats-Msg-Id": name is reserved`, fields{"nats-Msg-Id": planted}, nil},
	{"reserved alias", `header "Stamp_X": name is reserved`, fields{"Stamp_X": planted}, nil},
	{"reserved name", `header "Traceparent": name is reserved`, fields{"Traceparent": planted}, nil},
	{"line break", `header "X": value contains a control character`, fields{"X": planted + "\r\nX-User: admin"}, nil},
	{"line feed in a list", `header "X": value 2 of 2: value contains a control character`, fields{"X": []string{"a", planted + "\n"}}, nil},
	{"NUL", `header "X": value contains a control character`, fields{"X": planted + "\x00"}, nil},
	{"empty value", `header "X": value is empty`, fields{"X": "", "Y": planted}, nil},
	{"equal names", `header "x_user": duplicate name`, fields{"X-User": planted, "x_user": planted}, nil},
	{"too many", "too many headers: found 4; at most 3 are allowed", fields{"A": planted, "B": "1", "C": "1", "D": "1"}, nil},
	{"too large", "header block is longer than max_bytes", fields{"A": strings.Repeat(planted, 50)}, nil},
	{"number", `header "X": .*; found a number`, fields{"X": 1234567, "Y": planted}, nil},
	{"null", `header "X": .*; found null`, fields{"X": nil, "Y": planted}, nil},
	{"boolean", `header "X": .*; found a boolean`, fields{"X": true, "Y": planted}, nil},
	{"nested", `header "X": unknown key "y"`, fields{"X": fields{"y": planted}}, nil},
	{"list", "headers: expected an object; found a list", []string{planted}, nil},
	{"both places", "headers claim is both in", fields{"X": planted}, fields{"Y": planted}},
	{"top level", `header "a b": name has a character other than letters`, nil, fields{"a b": planted}},
	{"bad subject", `header "X": expected a subject`, fields{"X": fields{"value": planted, "subjects": []string{"a..b"}}}, nil},
}

// invalid writes a refused claim into a user JWT.
func invalid(nats, top any) func(payload map[string]any) {
	return func(payload map[string]any) {
		if nats != nil {
			payload["nats"].(map[string]any)["headers"] = nats
		}
		if top != nil {
			payload["headers"] = top
		}
	}
}

// events keeps every event that a user of the system account receives.
type events struct {
	mu  sync.Mutex
	all []string
}

func listen(t *testing.T, nc *nats.Conn) *events {
	t.Helper()
	e := &events{}
	if _, err := nc.Subscribe("$SYS.>", func(m *nats.Msg) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, m.Subject+" "+string(m.Data))
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return e
}

// expect waits for an event with the given reason on a subject.
func (e *events) expect(t *testing.T, subject, reason string) {
	t.Helper()
	re := regexp.MustCompile(reason)
	harness.Eventually(t, "an event "+subject+" with the reason", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, ev := range e.all {
			subj, data, _ := strings.Cut(ev, " ")
			var body struct{ Reason string }
			if strings.HasSuffix(subj, subject) && json.Unmarshal([]byte(data), &body) == nil && re.MatchString(body.Reason) {
				return true
			}
		}
		return false
	})
}

func (e *events) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.all, "\n")
}

var tokenPart = regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)

// leaks reports whether text has the planted value, also within JWTs, and within
// JWTs that these hold.
func leaks(text string) bool {
	if strings.Contains(text, planted) {
		return true
	}
	for _, part := range tokenPart.FindAllString(text, -1) {
		if b, err := base64.RawURLEncoding.DecodeString(part); err == nil && len(b) > len(planted) && leaks(string(b)) {
			return true
		}
	}
	return false
}

// leaks finds a value in a JWT. Otherwise the tests of this file would show nothing.
func TestLeaksSeesJWTs(t *testing.T) {
	op := harness.NewOperator(t)
	u := op.Sys.User(t, "u", header("X", planted))
	if !leaks(`{"jwt":"` + u.JWT + `"}`) {
		t.Error("leaks does not find a value in a JWT")
	}
}

// expectSilence checks that no page, event or log shows the value.
func expectSilence(t *testing.T, s *harness.Server, e *events, seen string) {
	t.Helper()
	for where, text := range map[string]string{
		"the log": s.Text(), "the events": e.text(), "the client": seen,
		"connz": string(s.Get(t, "/connz?auth=1&state=all")), "varz": string(s.Get(t, "/varz")),
		"accountz": string(s.Get(t, "/accountz")),
	} {
		if leaks(text) {
			t.Errorf("the value can be seen in %s", where)
		}
	}
}

const smallLimits = "max_control_line: 65536\nheaders { max_headers: 3, max_bytes: 500 }\n"

// A user JWT with an invalid claim is refused. The log and an event say why, and nothing shows the value.
func TestRefusedUserJWT(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	s := harness.Start(t, op.Conf(t)+smallLimits, "-DV")
	good := harness.Client(t, s, acc.User(t, "good", header("X", planted)).Credential)
	for _, tc := range refusals {
		t.Run(tc.name, func(t *testing.T) {
			e := listen(t, s.Connect(t, op.Sys.User(t, "sys", nil).Options()...))
			mark := s.Mark()
			u := acc.User(t, "u", nil)
			u.JWT = harness.Resign(t, u.JWT, acc.Key, invalid(tc.nats, tc.top))
			seen := expectRefused(t, s, u.Credential)
			mark.WaitLog(t, "Headers Refused: .*"+tc.fault)
			e.expect(t, ".CLIENT.AUTH.ERR", tc.fault)
			expectSilence(t, s, e, seen)

			// The same for a connection that was in use before, and so has a disconnect event.
			again := harness.Client(t, s, acc.User(t, "v", nil).Credential)
			again.Connect(u.Credential)
			seen = strings.Join(again.ExpectClosed(), "\n")
			e.expect(t, ".DISCONNECT", "")
			expectSilence(t, s, e, seen)
		})
	}
	good.Flush() // another's fault does not close it
}

// The disconnect event of a connection that was in use says why it ended, as the log does.
func TestReasonOfTheDisconnectEvent(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	s := harness.Start(t, op.Conf(t))
	e := listen(t, s.Connect(t, op.Sys.User(t, "sys", nil).Options()...))
	bad := acc.User(t, "u", nil)
	bad.JWT = harness.Resign(t, bad.JWT, acc.Key, invalid(fields{"a b": planted}, nil))
	raw := harness.Client(t, s, acc.User(t, "v", nil).Credential)
	raw.Connect(bad.Credential)
	raw.ExpectClosed()
	e.expect(t, ".DISCONNECT", `header "a b": name has a character other than letters`)
}

// The same for an invalid claim in the answer of a callout.
func TestRefusedCalloutJWT(t *testing.T) {
	// With an xkey. TestTraceLogOfAnUnencryptedCallout is for unencrypted answers.
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	s := harness.Start(t, smallLimits+`
		system_account: SYS
		accounts { AUTH { users: [{user: auth, password: auth}] }, APP {}, SYS { users: [{user: sys, password: sys}] } }
		authorization { auth_callout { issuer: `+harness.Public(t, issuer)+`, account: AUTH, auth_users: [auth, sys], xkey: `+harness.Public(t, xkey)+` } }`, "-DV")
	callout := harness.Callout{Issuer: issuer, XKey: xkey, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience = "APP"
		token, err := uc.Encode(issuer)
		for _, tc := range refusals {
			if tc.name == req.ConnectOptions.Token {
				token = harness.Resign(t, token, issuer, invalid(tc.nats, tc.top))
			}
		}
		return token, err
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	for _, tc := range refusals {
		t.Run(tc.name, func(t *testing.T) {
			e := listen(t, s.Connect(t, userInfo("sys")))
			mark := s.Mark()
			seen := expectRefused(t, s, func(string) map[string]any { return fields{"auth_token": tc.name} })
			mark.WaitLog(t, "Headers Refused: .*"+tc.fault)
			e.expect(t, ".CLIENT.AUTH.ERR", tc.fault)
			expectSilence(t, s, e, seen)
		})
	}
}

// The trace log shows payloads. The payload of an unencrypted answer is a JWT with values.
func TestTraceLogOfAnUnencryptedCallout(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""), "-DV")
	callout := harness.Callout{Issuer: issuer, Answer: answers("APP", issuer, map[string]*claim.Claim{"u": header("X", planted)})}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	harness.Client(t, s, password("u"))
	if leaks(s.Text()) {
		t.Error("the value can be seen in the log")
	}
}

// A claim whose headers leave no room for a payload is refused.
func TestRefusedForMaxPayload(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	s := harness.Start(t, op.Conf(t)+"max_payload: 200\n", "-DV")
	e := listen(t, s.Connect(t, op.Sys.User(t, "sys", nil).Options()...))
	mark := s.Mark()
	seen := expectRefused(t, s, acc.User(t, "u", header("X", strings.Repeat(planted, 12))).Credential)
	mark.WaitLog(t, "Headers Refused: .*no room in a max_payload of 200")
	e.expect(t, ".CLIENT.AUTH.ERR", "no room in a max_payload of 200")
	expectSilence(t, s, e, seen)
}

// The server does not start with invalid headers of a configured user. The error shows no value.
func TestRefusedConfiguration(t *testing.T) {
	for name, tc := range map[string]struct{ headers, fault string }{
		"bad name":   {`{"a b": "planted-7f1c-secret"}`, `header "a b"`},
		"reserved":   {`{Nats-Msg-Id: "planted-7f1c-secret"}`, `header "Nats-Msg-Id"`},
		"line break": {`{X: "planted-7f1c-secret\nY: z"}`, `header "X"`},
		"number":     {`{X: 12, Y: "planted-7f1c-secret"}`, `header "X"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Launch(t, fmt.Sprintf("authorization { users: [{user: u, password: u, headers: %s}] }", tc.headers))
			if code := s.Exit(t); code != 1 {
				t.Errorf("expected the server not to start, with exit code 1; found %d", code)
			}
			if !strings.Contains(s.Text(), tc.fault) || leaks(s.Text()) {
				t.Error("the error does not name the fault, or shows the value")
			}
		})
	}
}
