package test

import (
	"strings"
	"testing"

	"stamp/test/harness"
)

// ownConf is a server with a handler inside, which finds its sessions in an account of the configuration.
func ownConf(more, publish string) string {
	return more + `
		accounts { APP { jetstream: enabled, users: [{user: u, password: u}] }, OTHER { users: [{user: o, password: o}] } }
		callout {
			sessions: [{kind: anonymous}]
			grants: [{account: APP, publish: "` + publish + `", subscribe: ">"}]
		}`
}

// alarms are the lines of the log that an operator looks into.
func alarms(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "[ERR]") {
			out = append(out, line)
		}
	}
	return out
}

// A reload that replaces the handler logs no warnings or errors, also if the handler's account changes, or is removed.
func TestReloadOfTheHandlerLogsNoError(t *testing.T) {
	s := harness.Start(t, ownConf("", "a.>"))
	own := func(account string) string {
		return strings.Replace(ownConf("", "a.>"), "callout {\n", "callout {\n account: "+account+"\n", 1)
	}
	for _, conf := range []string{ownConf("", "b.>"), own("OTHER"), own("THIRD"), own("OTHER"), ownConf("", "c.>")} {
		mark := s.Mark()
		s.Reload(t, conf)
		mark.WaitLog(t, "Reloaded: callout handler")
	}
	harness.Client(t, s, nobody).Flush()
	if lines := alarms(s.Text()); len(lines) > 0 {
		t.Errorf("the log has errors:\n%s", strings.Join(lines, ""))
	}
}

// At the limit of connections of the server, or of the handler's account, a changed callout block comes into force all the
// same: the new handler takes over the connection of the old one.
func TestReloadOfTheHandlerAtMaxConnections(t *testing.T) {
	for name, conf := range map[string]func(publish string) string{
		"of the server": func(publish string) string { return ownConf("max_connections: 3\n", publish) },
		"of the account": func(publish string) string {
			c := strings.Replace(ownConf("", publish), "callout {\n", "callout {\n account: AUTH\n", 1)
			return strings.Replace(c, "accounts {", "accounts { AUTH { limits { max_connections: 1 } },", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, conf("a.>"))
			one, two := harness.Client(t, s, nobody), harness.Client(t, s, nobody)
			mark := s.Mark()
			s.Reload(t, conf("b.>"))
			mark.WaitLog(t, "Reloaded: callout handler|cannot start the new callout handler")
			if lines := alarms(s.Text()); len(lines) > 0 {
				t.Fatalf("the log has errors:\n%s", strings.Join(lines, ""))
			}
			two.Flush()
			harness.Eventually(t, "the renewals", func() bool { return varzHeaders(t, s)["renewals"] == 2 })
			one.Send("PUB a.x 0\r\n\r\n")
			if errs := untilPong(t, one); len(errs) != 1 {
				t.Errorf("the old block is in force: %q", errs)
			}
		})
	}
}
