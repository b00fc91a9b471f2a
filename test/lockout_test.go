package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// checkConf runs nats-server -t, and returns its exit code and its output.
func checkConf(t *testing.T, conf string, flags ...string) (code int, said string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.Run(t, harness.Binary(t), append(flags, "-t", "-c", file)...)
	return p.Exit(t), p.Text()
}

// -t and a reload find a setting that would lock out configured users, before the users do.
func TestUsersThatCouldNotConnect(t *testing.T) {
	const one = "accounts { APP { users: [{user: web, password: secret, headers: {Session: value}}] } }\n"
	op := harness.NewOperator(t)
	ca := harness.NewCA(t)
	cert, key := ca.Issue(t, "server")
	withTLS := fmt.Sprintf("tls { cert_file: %q, key_file: %q }\n", cert, key)
	withVerify := fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }\n", cert, key, ca.File)
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
		"the account's max_payload, all": {"accounts { APP { limits { max_payload: 20 }, users: [{user: web, password: secret}] } }\nheaders {\n all: {Session: value} }",
			`server.conf:2:1: user "web" could not connect: headers of up to`},
		"an account's max_payload of 0": {"accounts { APP { limits { max_payload: 0 }, users: [{user: web, password: secret, headers: {Session: value}}] } }", `user "web" could not connect: headers of up to`},
		"the max_payload of a leafnode's account": {"accounts { APP { limits { max_payload: 20 } } }\n" +
			"leafnodes { listen: \"127.0.0.1:-1\", authorization { users: [{user: site, password: secret, account: APP, headers: {Session: value}}] } }", `user "site" could not connect: headers of up to`},
		"the max_payload of the leafnodes' account, all": {"accounts { APP { limits { max_payload: 20 } } }\n" +
			"leafnodes { listen: \"127.0.0.1:-1\", authorization { user: site, password: secret, account: APP } }\nheaders { all: {Session: value} }", `user "site" could not connect: headers of up to`},
		"the max_payload of an account of the callout": {"accounts { APP { limits { max_payload: 20 } } }\n" +
			`callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }` + "\nheaders { all: {Session: value} }",
			`nobody could connect to account "APP": headers of up to`},
		"everybody beside leafnodes": {"accounts { APP { } }\nleafnodes { listen: \"127.0.0.1:-1\", authorization { users: [{user: site, password: secret, account: APP}] } }\n" +
			"max_payload: 20\nheaders { all: {Session: value} }", `: nobody could connect: headers of up to`},
		"the server's id":                    {"headers {\n max_bytes: 60\n all: {S: \"{{server-id()}}\"} }", `server.conf:2:2: nobody could connect: header block is longer than max_bytes: found 73 bytes`},
		"the server's id and max_payload":    {"max_payload: 60\nheaders { all: {S: \"{{server-id()}}\"} }", `: nobody could connect: headers of up to 73 bytes`},
		"the server's id as its name":        {"headers {\n max_bytes: 60\n all: {S: \"{{server-name()}}\"} }", `server.conf:2:2: nobody could connect: header block is longer than max_bytes: found 73 bytes`},
		"a long name of the server":          {"server_name: " + strings.Repeat("n", 200) + "\nheaders {\n max_bytes: 100\n all: {S: \"{{server-name()}}\"} }", `server.conf:3:2: nobody could connect: header block is longer than max_bytes: found 217 bytes`},
		"a line separator in the name":       {"server_name: \"a\u2028b\"\nheaders {\n all: {S: \"{{server-name()}}\"} }", `server.conf:3:8: nobody could connect: header "S": value contains a control character`},
		"the name of the server of a user":   {"server_name: \"\u00a0b\"\nauthorization { users: [{user: u, password: u, headers: {S: \"{{server-name()}}\"}}] }", `user "u" could not connect: header "S": value begins or ends with white space`},
		"certificates without TLS":           {strings.Replace(one, "value", `"{{tls-subject()}}"`, 1), `user "web" could not connect: header "Session": template function has no value for this user: "tls-subject()"` + "\nhint: the server verifies no client certificate of this user"},
		"certificates that are not verified": {strings.Replace(one, "value", `"{{tls-subject()}}"`, 1) + withTLS, `user "web" could not connect: header "Session": template function has no value`},
		"certificates of another listener":   {strings.Replace(strings.Replace(one, "password: secret", "password: secret, allowed_connection_types: [MQTT]", 1), "value", `"{{tls-subject()}}"`, 1) + withVerify, `user "web" could not connect: header "Session": template function has no value`},
		"all, with every certificate":        {strings.Replace(one, "value", `"{{tls-subject()}}"`, 1) + withVerify + "headers { max_headers: 1, all: {\"X-TLS\": \"{{tls-subject()}}\"} }", `user "web" could not connect: too many headers`},
		"the connection's type":              {strings.Replace(strings.Replace(one, "password: secret", "password: secret, allowed_connection_types: [WEBSOCKET]", 1), "value", `"{{connection-type()}}"`, 1) + "headers { max_bytes: 32 }", `user "web" could not connect: header block is longer than max_bytes`},
		"headers of a remote": {"leafnodes { remotes: [{url: \"nats://user:hunter2@127.0.0.1:7422\", headers: {X: value}}] }",
			"leafnodes.remotes: headers: a remote cannot have headers, since messages that come from the other server were published there; found headers of the remote to 127.0.0.1:7422\nhint: remove them"},
		"headers of a remote that all has": {"leafnodes { remotes: [{url: \"nats://127.0.0.1:7422\", headers: {X: value}}] }\nheaders { all: {X: b} }", "leafnodes.remotes: headers: a remote cannot have headers"},
		"a leafnode's user": {"leafnodes { listen: \"127.0.0.1:-1\", authorization { users: [{user: site, password: secret, headers: {A: x}}] } }\nheaders { all: {A: y} }",
			`user "site" could not connect: header "A": the server sets this header by headers.all`},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := checkConf(t, tt.conf)
			if code == 0 || !strings.Contains(said, tt.want) || strings.Contains(said, "vvvv") || strings.Contains(said, "hunter2") {
				t.Errorf("expected -t to fail with %q and without the values; found exit code %d: %.600s", tt.want, code, said)
			}
		})
	}
	for name, conf := range map[string]string{
		"an account that no grant names": "accounts { APP { }, ARCHIVE { limits { max_payload: 16 } } }\n" +
			`callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }` + "\nheaders { all: {Session: value} }",
		"the limits of all":           one + `headers { max_headers: 2, max_bytes: 60, all: {A: "{{client-id()}}"} }`,
		"a certificate":               strings.Replace(one, "value", `"{{tls-subject()}}"`, 1) + withVerify,
		"a certificate of a leafnode": "leafnodes { listen: \"127.0.0.1:-1\"\n" + withVerify + "authorization { users: [{user: site, password: secret, headers: {X: \"{{tls-subject()}}\"}}] } }",
		"no certificate":              "headers { all: {X: \"{{tls-subject()}}\"} }",
		"no max_payload":              one + "max_payload: -1",
		"no max_payload of accounts":  "accounts { APP { limits { max_payload: -1 }, users: [{user: web, password: secret, headers: {Session: value}}] } }",
		"the server's id":             "headers { max_bytes: 73, all: {S: \"{{server-id()}}\"} }",
		"a short name":                "server_name: s\nheaders { max_bytes: 34, all: {S: \"{{server-name()}}\"} }",
		"permissions of a remote":     "leafnodes { remotes: [{url: \"nats://127.0.0.1:7422\", header_permissions: {publish: {allow: [X]}}}] }",
	} {
		if code, said := checkConf(t, conf); code != 0 {
			t.Errorf("%s: a configuration that lets everybody in was refused: %s", name, said)
		}
	}
	for flag, want := range map[string]int{"short": 0, strings.Repeat("n", 200): 1} {
		conf := "server_name: " + strings.Repeat("f", 201-len(flag)) + "\nheaders { max_bytes: 100, all: {S: \"{{server-name()}}\"} }"
		if code, said := checkConf(t, conf, "-n", flag); code != want {
			t.Errorf("server name %q on the command line: expected exit code %d; found %d: %s", flag, want, code, said)
		}
	}
	s := harness.Start(t, one)
	s.Connect(t, nats.UserInfo("web", "secret"))
	line := s.TryReload(t, one+"headers { all: {Session: x} }")
	if !strings.Contains(s.Text(), `user "web" could not connect`) {
		t.Errorf("expected a warning that user web could not connect; the reload ended with %q", line)
	}
	for _, c := range s.Connz(t, "state=closed").Conns {
		t.Errorf("the reload closed a connection: %s", c.Reason)
	}
}

// -t and the log name what a pattern leaves out.
func TestPatternsThatLeaveNamesOut(t *testing.T) {
	const conf = "headers { protected: [\"*\"], sealed: [\"Nats-*\"] }"
	code, said := checkConf(t, conf)
	if code != 0 || !strings.Contains(said, `warning: `) || strings.Count(said, "leaves out nats-*") != 2 {
		t.Errorf("expected exit code 0 and warnings for both patterns; found exit code %d:\n%s", code, said)
	}
	s := harness.Start(t, conf)
	sub := subscriber(t, s, harness.Nobody)
	s.WaitLog(t, `\[WRN\] Headers block: .* the pattern "\*" leaves out nats-\*`)
	pub := harness.Client(t, s, harness.Nobody)
	pub.Hpub("t.x", block("Nats-Msg-Id: 7", "KV-Operation: DEL", "X-User: admin"), "payload")
	expectMsg(t, sub, "what steers", block("Nats-Msg-Id: 7", "KV-Operation: DEL"))
}
