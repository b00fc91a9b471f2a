package test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// With share: true, the server tells a service the name that a client gave itself. No such name breaks the header line: the
// rule for publishers' values applies to values that the server adds, too.
func TestSharedNamesBreakNoLines(t *testing.T) {
	s := harness.Start(t, `
		headers { protected: [Session] }
		accounts {
			APP { users: [ {user: svc, password: svc} ], exports: [ {service: "svc"} ] }
			OTHER { users: [ {user: pub, password: pub} ], imports: [ {service: {account: APP, subject: "svc"}, share: true} ] }
		}`)
	sub := subscribedTo(t, s.Connect(t, userInfo("svc")), "svc")
	for _, c := range []string{"\u0080", "\u0085", "\u009f", "\u007f", "\u2028", "\u2029", "\r\n", "\v", "ü"} {
		name := "x" + c + "Session: admin"
		if err := s.Connect(t, userInfo("pub"), nats.Name(name)).Publish("svc", nil); err != nil {
			t.Fatal(err)
		}
		value := next(t, sub, nil).Header.Get("Nats-Request-Info")
		if strings.ContainsAny(value, "\u0080\u0085\u009f\u007f\u2028\u2029\r\n\v") {
			t.Errorf("a character of the client name %q that breaks lines is in Nats-Request-Info: %q", c, value)
		}
		var info struct{ Name string }
		if err := json.Unmarshal([]byte(value), &info); err != nil || info.Name != name {
			t.Errorf("%q: the service is told %q, error %v", name, info.Name, err)
		}
	}
}
