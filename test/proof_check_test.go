package test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// TestProofCheck reads messages from a stream, and from standard input as they were delivered.
func TestProofCheck(t *testing.T) {
	keys, file := proofKeys(t)
	s := harness.Start(t, strings.Replace(proofConf(file, fmt.Sprintf(`receivers: {APP: %q}, encrypt: [Session], sign: ["audit.>"]`, keys.Receiver), ""),
		"APP { ", "APP { jetstream: enabled, ", 1)+"\n"+jetStream(t))
	receiver := filepath.Join(t.TempDir(), "receiver.nk")
	writeKeyFile(t, receiver, keys.ReceiverSeed+"\n")
	nc := s.Connect(t, userInfo("alice"))
	js := newJetStream(t, nc)
	mustStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"orders.>", "audit.>"}})
	sub := hearsAll(t, s, "sub")
	var raw []string                  // as they were delivered
	const turned = "orders.\u202ewen" // a terminal shows it as orders.new
	for _, subject := range []string{"orders.new", "audit.new", turned} {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: []byte("payload"), Header: nats.Header{"Own": {"1"}}}); err != nil {
			t.Fatal(err)
		}
		m := next(t, sub, nil)
		for m.Subject != subject {
			m = next(t, sub, nil)
		}
		block := "NATS/1.0\r\n"
		for name, values := range m.Header {
			for _, v := range values {
				block += name + ": " + v + "\r\n"
			}
		}
		raw = append(raw, block+"\r\n"+string(m.Data))
	}
	aliased := func(line string) string { return strings.Replace(raw[0], "\r\n", "\r\n"+line+"\r\n", 1) }
	both := keys.ServerX + "," + keys.ServerN
	login := []string{"--server", "nats://" + s.Addr(t), "--user", "sub", "--password", "env:SUB_PASSWORD"}
	stored := func(seq string, args ...string) []string {
		return append(append([]string{"--stream", "S", "--seq", seq}, login...), args...)
	}
	for name, c := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  []string
		not   string
	}{
		"stored":         {stored("1", "--servers", both, "--receiver", receiver), "", 0, []string{"proven\tfor a receiver\nserver\t" + keys.ServerX, "account\tAPP\nsubject\torders.new\ntime\t2", "header\tRoles\t2 values\n", "header\tSession\t1 value, encrypted\n", "payload\tproven\nnot proven\t\"Own\"\n"}, "0af3"},
		"stored, signed": {stored("2", "--servers", both, "--receiver", receiver), "", 0, []string{"proven\tsigned, and for a receiver\n", "server\t" + keys.ServerN, "subject\taudit.new\n"}, "0af3"},
		"values":         {stored("1", "--servers", both, "--receiver", receiver, "--reveal"), "", 0, []string{"value\tSession\t\"0af3-secret\"\n", "value\tX-User\t\"alice\"\n"}, "Token"},
		"standard input": {[]string{"--servers", both, "--receiver", receiver}, raw[0], 0, []string{"subject\torders.new\n"}, "0af3"},
		// Anybody can check the signature, but not read the encrypted value.
		"without the key": {[]string{"--servers", both}, raw[1], 0, []string{"proven\tsigned, and for a receiver\n", "header\tSession\tencrypted, for the receiver "}, "0af3"},
		"a subject that a terminal would show as another one": {[]string{"--servers", both, "--receiver", receiver}, raw[2], 0, []string{"subject\t\"orders.\\u202ewen\"\n"}, "\u202e"},
		// A name that a receiver takes for the user, and that no proof is about.
		"an alias of the user":       {[]string{"--servers", both, "--receiver", receiver}, aliased("X_User: mallory"), 1, []string{"nothing is proven: stamp: field-twice", `a receiver takes none: "X-User" and "X_User"`}, "mallory"},
		"an empty alias of the user": {[]string{"--servers", both, "--receiver", receiver}, aliased("x.user:"), 1, []string{"stamp: field-twice", `a receiver takes none: "X-User" and "x.user"`}, ""},
		"an alias that turns text":   {[]string{"--servers", both, "--receiver", receiver}, aliased("X-User\u202e: mallory"), 1, []string{"stamp: field-twice", `a receiver takes none: "X-User" and "X-User\u202e"`}, "\u202e"},
		"an alias of the subject":    {[]string{"--servers", both, "--receiver", receiver}, aliased("stamp_subject: x"), 1, []string{"stamp: field-twice", `a receiver takes none: "Stamp-Subject" and "stamp_subject"`}, ""},
		"an alias of the proof":      {[]string{"--servers", both, "--receiver", receiver}, aliased("stamp.proof: x"), 1, []string{"stamp: proof-malformed", `a receiver takes none: "Stamp-Proof" and "stamp.proof"`}, ""},
		"payload":                    {[]string{"--servers", both, "--receiver", receiver}, raw[0] + "x", 1, []string{"nothing is proven: stamp: proof-wrong"}, ""},
		"no key":                     {[]string{"--servers", both}, raw[0], 1, []string{"nothing is proven: stamp: proof-key", "give the receiver's key file with --receiver"}, ""},
		"another server":             {[]string{"--servers", keys.Receiver, "--receiver", receiver}, raw[0], 1, []string{"stamp: proof-key"}, ""},
		"another account":            {[]string{"--servers", both, "--receiver", receiver, "--account", "OTHER"}, raw[0], 1, []string{"stamp: account"}, ""},
		"another subject":            {[]string{"--servers", both, "--receiver", receiver, "--subject", "admin.>"}, raw[0], 1, []string{"stamp: subject"}, ""},
		"no proof":                   {[]string{"--servers", both, "--receiver", receiver}, "NATS/1.0\r\nX-User: alice\r\n\r\n", 1, []string{"expected one header Stamp-Proof; found 0"}, ""},
		"no header block":            {[]string{"--servers", both}, "payload", 1, []string{"expected a header block"}, ""},
		"no sequence":                {[]string{"--servers", both, "--stream", "S"}, "", 2, []string{"expected --stream and --seq"}, ""},
		"no message":                 {stored("99", "--servers", both), "", 1, []string{"stream S, message 99: "}, ""},
		"no key of a server":         {[]string{"--servers", "XABC"}, raw[0], 2, []string{"expected a public key"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(harness.CalloutBinary(t), append([]string{"proof", "check"}, c.args...)...)
			cmd.Stdin = strings.NewReader(c.stdin)
			cmd.Env = append(cmd.Environ(), "SUB_PASSWORD=sub")
			out, _ := cmd.CombinedOutput() // the exit code says it
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("expected exit code %d; found %d:\n%s", c.code, code, out)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("expected %q in the output:\n%s", want, out)
				}
			}
			if c.not != "" && strings.Contains(string(out), c.not) {
				t.Errorf("%q must not be in the output:\n%s", c.not, out)
			}
		})
	}
}
