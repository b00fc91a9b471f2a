package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// checkConf runs nats-server -t, and returns its exit code and its output.
func checkConf(t *testing.T, conf string) (code int, said string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.Run(t, harness.Binary(t), "-t", "-c", file)
	return p.Exit(t), p.Text()
}

// -t and a reload find a setting that would lock out configured users, before the users do.
func TestUsersThatCouldNotConnect(t *testing.T) {
	const one = "accounts { APP { users: [{user: web, password: secret, headers: {Session: value}}] } }\n"
	op := harness.NewOperator(t)
	for name, tt := range map[string]struct{ conf, want string }{
		"a name of all":              {one + "headers {\n all: {\n  session: x } }", `server.conf:4:3: user "web" could not connect: header "Session": the server sets this header by headers.all`},
		"max_bytes":                  {one + "headers {\n max_bytes: 20 }", `server.conf:3:2: user "web" could not connect: header block is longer than max_bytes`},
		"max_headers":                {one + "headers {\n max_headers: 1\n all: {A: x} }", `server.conf:3:2: user "web" could not connect: too many headers`},
		"the default limits":         {strings.Replace(one, "value", strings.Repeat("v", 17000), 1), `user "web" could not connect: header block is longer than max_bytes`},
		"max_payload":                {one + "max_payload: 20", `user "web" could not connect: headers of up to`},
		"max_payload, all":           {"max_payload: 20\nheaders { all: {Session: value} }", `server.conf:2:1: nobody could connect: headers of up to`},
		"max_payload and provenance": {one + "max_payload: 200\nheaders { provenance: true }", `server.conf:3:1: user "web" could not connect: headers of up to`},
		"the account's max_payload":  {"accounts { APP { limits { max_payload: 20 }, users: [{user: web, password: secret, headers: {Session: value}}] } }", `user "web" could not connect: headers of up to`},
		"all, of operators":          {op.Conf(t) + "max_payload: 20\nheaders { all: {Session: value} }", `: nobody could connect: headers of up to`},
		"JetStream's limit": {strings.Replace(one, "value", strings.Repeat("v", 65200), 1) + "headers {\n max_bytes: 65535\n provenance: true }",
			`server.conf:3:2: user "web" could not connect: header block is longer than JetStream can store: found 65`},
		"no value":           {strings.Replace(one, "value", `"{{tag(x)}}"`, 1), `user "web" could not connect: header "Session": template function has no value`},
		"the system account": {one + "system_account: APP", `user "web" could not connect: headers claim for a user of the system account`},
		"a leafnode's user": {"leafnodes { listen: \"127.0.0.1:-1\", authorization { users: [{user: site, password: secret, headers: {A: x}}] } }\nheaders { all: {A: y} }",
			`user "site" could not connect: header "A": the server sets this header by headers.all`},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := checkConf(t, tt.conf)
			if code == 0 || !strings.Contains(said, tt.want) || strings.Contains(said, "vvvv") {
				t.Errorf("exit code %d: %.600s", code, said)
			}
		})
	}
	if code, said := checkConf(t, strings.Replace(one, "value", `"{{tls-subject()}}"`, 1)+"headers { max_headers: 1, all: {\"X-TLS\": \"{{tls-subject()}}\"} }"); code == 0 {
		t.Errorf("with a certificate, both headers are there: %s", said)
	}
	if code, said := checkConf(t, one+`headers { max_headers: 2, max_bytes: 60, all: {A: "{{client-id()}}"} }`); code != 0 {
		t.Errorf("a configuration that lets everybody in: %s", said)
	}
	s := harness.Start(t, one)
	s.Connect(t, nats.UserInfo("web", "secret"))
	line := s.TryReload(t, one+"headers { all: {Session: x} }")
	if !strings.Contains(s.Text(), `user "web" could not connect`) {
		t.Errorf("reload: %s", line)
	}
	for _, c := range s.Connz(t, "state=closed").Conns {
		t.Errorf("closed: %s", c.Reason)
	}
}

// -t and the log name what a pattern leaves out.
func TestPatternsThatLeaveNamesOut(t *testing.T) {
	const conf = "headers { protected: [\"*\"], sealed: [\"Nats-*\"] }"
	code, said := checkConf(t, conf)
	if code != 0 || !strings.Contains(said, `warning: `) || strings.Count(said, "leaves out nats-*") != 2 {
		t.Errorf("exit code %d: %s", code, said)
	}
	s := harness.Start(t, conf)
	sub := subscriber(t, s, harness.Nobody)
	s.WaitLog(t, `\[WRN\] Headers block: .* the pattern "\*" leaves out nats-\*`)
	pub := harness.Client(t, s, harness.Nobody)
	pub.Hpub("t.x", block("Nats-Msg-Id: 7", "KV-Operation: DEL", "X-User: admin"), "payload")
	expectMsg(t, sub, "what steers", block("Nats-Msg-Id: 7", "KV-Operation: DEL"))
}
