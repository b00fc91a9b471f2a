package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/docs/examples/receiver"
)

// The helpers for receivers in Go and in JavaScript have the same results.
func TestReceivers(t *testing.T) {
	if _, err := os.Stat(filepath.Join("js", "node_modules")); err != nil {
		if os.Getenv("STAMP_TEST_ALL") != "" {
			t.Fatal("run npm ci in test/js first")
		}
		t.Skip("run npm ci in test/js first")
	}
	now := time.Now().UTC()
	at := func(d time.Duration) string { return "Stamp-Time: " + now.Add(d).Format(time.RFC3339Nano) }
	tests := []struct {
		lines, subjects []string
		want            error
	}{
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.a", at(0)}, []string{"app.a"}, nil},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.a", at(0)}, nil, receiver.ErrSubject},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.a", at(-50 * time.Second)}, []string{"app.a"}, nil},
		{nil, nil, receiver.ErrNotStamped},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.a"}, nil, receiver.ErrNotStamped},
		{[]string{"Stamp-Account: APP", at(0)}, nil, receiver.ErrNotStamped},
		{[]string{"Stamp-Subject: app.a", at(0)}, []string{"app.a"}, receiver.ErrNotStamped},
		{[]string{"Stamp-Account: OTHER", "Stamp-Subject: app.a", at(0)}, []string{"app.a"}, receiver.ErrAccount},
		{[]string{"Stamp-Account: APP", "Stamp-Account: OTHER", "Stamp-Subject: app.a", at(0)}, []string{"app.a"}, receiver.ErrNotStamped},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.a", "Stamp-Subject: app.b", at(0)}, nil, receiver.ErrNotStamped},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.b", at(0)}, []string{"app.a"}, receiver.ErrSubject},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.b", at(0)}, []string{"x", "app.*"}, nil},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.b", at(0)}, []string{"app.b"}, nil},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.b.c", at(0)}, []string{"app.>"}, nil},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app", at(0)}, []string{"app.>"}, receiver.ErrSubject},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.b.c", at(0)}, []string{"app.*", "app.b.c.d"}, receiver.ErrSubject},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.a", at(-2 * time.Minute)}, []string{">"}, receiver.ErrAge},
		{[]string{"Stamp-Account: APP", "Stamp-Subject: app.a", at(2 * time.Minute)}, []string{">"}, receiver.ErrAge},
	}
	var in bytes.Buffer
	for _, tt := range tests {
		b := []byte(block(tt.lines...))
		m := &nats.Msg{Subject: "app.a"}
		if len(b) > 0 {
			h, err := nats.DecodeHeadersMsg(b)
			if err != nil {
				t.Fatal(err)
			}
			m.Header = h
		}
		if err := receiver.Check(m, "APP", time.Minute, tt.subjects...); !errors.Is(err, tt.want) {
			t.Errorf("headers %q, subjects %q: Check returned error %v, want %v", tt.lines, tt.subjects, err, tt.want)
		}
		if err := receiver.CheckAny(m, time.Minute, receiver.Accounts{"APP": tt.subjects, "NONE": {">"}}); !errors.Is(err, tt.want) {
			t.Errorf("any of several, %q, %q: %v, want %v", tt.lines, tt.subjects, err, tt.want)
		}
		line, err := json.Marshal(map[string]any{"block": b, "subject": m.Subject, "account": "APP", "max_age": 60000, "subjects": append([]string{}, tt.subjects...)})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.Command("node", "check.mjs")
	cmd.Dir, cmd.Stdin = "js", &in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("check.mjs failed: %v\n%s", err, out)
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(tests) {
		t.Fatalf("check.mjs gave %d answers for %d messages", len(answers), len(tests))
	}
	for i, tt := range tests {
		want := "ok"
		if tt.want != nil {
			want = tt.want.Error()
		}
		if !strings.HasPrefix(answers[i], want) {
			t.Errorf("in JavaScript, %q, %q: %s, want %s", tt.lines, tt.subjects, answers[i], want)
		}
	}
}
