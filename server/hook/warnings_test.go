package hook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/policy"
)

// lines is a server's logger that keeps the warnings.
type lines struct{ warnings []string }

func (l *lines) Noticef(string, ...any) {}
func (l *lines) Fatalf(string, ...any)  {}
func (l *lines) Errorf(string, ...any)  {}
func (l *lines) Debugf(string, ...any)  {}
func (l *lines) Tracef(string, ...any)  {}
func (l *lines) Warnf(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// Whoever holds the key of an account cannot fill the log with warnings about claims.
func TestWarningsAboutClaimsAreLimited(t *testing.T) {
	s := inert(t)
	log := &lines{}
	s.SetLoggerV2(log, false, false, false)
	headers := map[string]any{}
	for i := range 64 {
		headers[fmt.Sprintf("X%02d", i)] = "v"
	}
	h := New()
	options := parsed(t, `headers { protected: [{name: "X*", accounts: [A]}] }`)
	for range 20 {
		for _, account := range []string{"B", "C"} {
			if _, err := h.Attach(&natsserver.AttachInfo{Server: s, Headers: options, AttachedAccount: natsserver.AttachedAccount{Account: account}, UserHeaders: user(t, headers, nil)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(log.warnings) != 2 || !strings.Contains(log.warnings[0], `"B": "X00", `) || !strings.Contains(log.warnings[1], `"C": "X00", `) || !strings.Contains(log.warnings[0], "and 56 more") {
		t.Errorf("expected a warning for B and for C with the number of keys left out; found %d: %q", len(log.warnings), log.warnings[:min(3, len(log.warnings))])
	}
	for range 20 {
		h.warnAboutClaim(&natsserver.AttachInfo{Server: s, AttachedAccount: natsserver.AttachedAccount{Account: "B"}}, &policy.Grant{Lookalikes: []string{`"header"`}})
	}
	if len(log.warnings) != 3 || !strings.Contains(log.warnings[2], `"header"`) {
		t.Errorf("expected one more warning about \"header\"; found %q", log.warnings[2:])
	}
	for range 20 {
		for _, account := range []string{"B", "C"} {
			h.warnAboutClaim(&natsserver.AttachInfo{Server: s, AttachedAccount: natsserver.AttachedAccount{Account: account}}, &policy.Grant{AccountLookalikes: []string{`"Header_s"`}})
		}
	}
	if len(log.warnings) != 5 || !strings.Contains(log.warnings[3], `account "B"`) || !strings.Contains(log.warnings[4], `account "C"`) || !strings.Contains(log.warnings[4], `"Header_s"`) {
		t.Errorf("expected one more warning for each of the accounts B and C; found %q", log.warnings[3:])
	}
	var n warningLimit
	for i := range 2 * maxWarnedAccounts {
		n.admit(fmt.Sprint(i), time.Now())
	}
	if len(n.warned) > maxWarnedAccounts {
		t.Errorf("%d accounts are remembered, which is above the bound", len(n.warned))
	}
}
