package login

import (
	"net/http"
	"testing"

	"stamp/internal/callout/session"
)

// The names by which a logout finds sessions are written anew, first by a handler that cannot read all sessions: it is of
// another client, or lacks the key. A handler that can read all of them must not take those names for complete.
func TestIndexWrittenAnewByAStranger(t *testing.T) {
	for _, what := range []string{"of another client", "without the key"} {
		t.Run(what, func(t *testing.T) {
			nc, p, key := startServer(t), newProvider(t), newKey()
			first := startSite(t, p, connectedTo(t, nc), key, "")
			b := newBrowser(t, first)
			b.logIn()
			var stranger *site
			if what == "without the key" {
				stranger = startSite(t, p, connectedTo(t, nc), newKey(), "")
			} else {
				stranger = startSite(t, p, connectedTo(t, nc), key, "", "client_id: app", "client_id: other")
			}
			if err := first.source.Close(); err != nil { // or the stranger is merely faster
				t.Fatal(err)
			}
			if err := stranger.js.DeleteKeyValue(t.Context(), stranger.cfg.indexBucket()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the index is there again and complete", func() bool {
				st, err := stranger.opened(t.Context())
				if err != nil {
					return false
				}
				done, err := st.isComplete(t.Context(), stranger.states(t))
				return err == nil && done
			})
			next := startSite(t, p, connectedTo(t, nc), key, "")
			eventually(t, "the logout to be carried out", func() bool {
				return next.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))) == http.StatusOK
			})
			if _, err := next.find(t, session.Cookie, b.cookie()); err == nil {
				t.Error("the logout was answered with 200, and the session lives")
			}
		})
	}
}
