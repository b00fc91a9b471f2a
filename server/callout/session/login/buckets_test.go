package login

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/sourcetest"
)

// Buckets that are deleted while the source runs are made again, as at its start, and so does it go on with
// those that somebody else has made: logins succeed, and their sessions are refreshed.
func TestBucketsThatAreMadeAnew(t *testing.T) {
	for name, c := range map[string]struct {
		deleted []string
		made    bool
	}{
		"both": {[]string{"sessions", "sessions-index"}, false}, "sessions": {[]string{"sessions"}, false},
		"index": {[]string{"sessions-index"}, false}, "made by another": {[]string{"sessions", "sessions-index"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, p := startServer(t), newProvider(t)
			p.life = 6 * time.Second
			s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
			for range 5 {
				newBrowser(t, s).logIn()
			}
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "a refresh", func() bool { return p.refreshes() > 0 })
			for _, bucket := range c.deleted {
				if err := js.DeleteKeyValue(t.Context(), bucket); err != nil {
					t.Fatal(err)
				}
				if !c.made {
					continue
				}
				if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: 24 * time.Hour}); err != nil {
					t.Fatal(err)
				}
			}
			b := newBrowser(t, s)
			eventually(t, "a login", func() bool {
				status, _, _ := b.ask("GET", "/login?to=/inbox", "")
				return status == http.StatusSeeOther
			})
			token := b.mustFind().Data["access_token"]
			eventually(t, "a refresh of the new session", func() bool { return b.mustFind().Data["access_token"] != token })
		})
	}
}

// The answer to a refresh is kept while the bucket is away, however long, and stored when it is back: the refresh
// token before it is good for nothing.
func TestAnswersOutliveTheBucket(t *testing.T) {
	dir := t.TempDir()
	server := sourcetest.Server(t, &natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir})
	nc := connected(t, server)
	p := newProvider(t)
	p.life = 6 * time.Second
	s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
	b := newBrowser(t, s)
	b.logIn()
	away := make(chan error, 1)
	p.intercept("/token", func(_ http.ResponseWriter, r *http.Request) bool {
		p.heal()
		away <- server.DisableJetStream()
		return false
	})
	if err := <-away; err != nil {
		t.Fatal(err)
	}
	harnessWait(t, 2*storeTime, "a line about it", func() bool { return strings.Contains(s.text(), "cannot be stored, trying again") })
	if err := server.EnableJetStream(&natsserver.JetStreamConfig{StoreDir: dir}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new access token", func() bool {
		found, err := s.find(t, session.Cookie, b.cookie())
		if errors.Is(err, session.ErrUnknown) {
			t.Fatal("the session has ended")
		}
		return err == nil && found.Data["access_token"] != "access-secret-1"
	})
	token := b.mustFind().Data["access_token"]
	harnessWait(t, 2*timeout, "the next refresh", func() bool { return b.mustFind().Data["access_token"] != token })
}
