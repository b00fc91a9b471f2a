package test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// With share: true the server itself tells a service who asks, with the name that a client gave itself. Nothing in that name
// breaks the line: values that the server adds obey the rule for those that publishers send.
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
			t.Errorf("%q stands in %q", c, value)
		}
		var info struct{ Name string }
		if err := json.Unmarshal([]byte(value), &info); err != nil || info.Name != name {
			t.Errorf("%q: the service is told %q, error %v", name, info.Name, err)
		}
	}
}
