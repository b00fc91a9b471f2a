package test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"stamp/test/harness"
)

// Like TestRefreshOutlivesSignals, with the handler inside the server: a reload, and the end of the server.
func TestRefreshOutlivesTheServer(t *testing.T) {
	p, pages := newOpenIDFake(t), newOpenIDPages(t)
	p.once = true
	store := t.TempDir()
	conf := func(n int) string {
		return fmt.Sprintf(`
			jetstream { store_dir: %q }
			accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
			websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: session, allowed_origins: ["http://app.test"] }
			callout {
				sessions: [{%s}]
				grants: [{account: APP, publish: ">", subscribe: ">", expires: 1h, headers: {X-Subject: "{{ session.sub }}"}}]
			}`, store, pages.source(p, n, "account: APP"))
	}
	s := harness.Start(t, conf(0))
	var v *visitor
	harness.Eventually(t, "a login", func() bool { v, _ = pages.tryLogIn(t); return v.cookie() != "" })
	p.set(func() { p.slow = 2 * time.Second })
	p.awaitRefresh(t)
	mark := s.Mark()
	s.Reload(t, conf(1))
	mark.WaitLog(t, "Reloaded: callout handler")
	p.awaitRefresh(t)
	s.Signal(t, syscall.SIGTERM)
	s.Exit(t)
	s = harness.Start(t, conf(1))
	p.awaitRefresh(t)
	// The server ends while the handler from before a reload waits for its answer.
	mark = s.Mark()
	s.Reload(t, conf(2))
	mark.WaitLog(t, "Reloaded: callout handler")
	s.Signal(t, syscall.SIGTERM)
	s.Exit(t)
	s = harness.Start(t, conf(2))
	p.awaitRefresh(t)
	if _, reused := p.counts(); reused != 0 {
		t.Errorf("%d refresh tokens were sent twice, want none", reused)
	}
	sub := subscriber(t, s, password("backend"))
	expectStamp(t, mustBrowse(t, s, cookies("session="+v.cookie()), harness.Nobody), sub, "X-Subject: alice")
}
