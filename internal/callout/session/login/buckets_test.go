package login

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// If buckets are deleted while the source runs, it makes them again, or uses those that somebody else has made: logins succeed,
// and their sessions are refreshed.
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

// If the bucket takes no entries, the source keeps the answer to a refresh, for as long as it takes, and stores it when the
// bucket takes entries again: the old refresh token is worth nothing any more.
func TestAnswersOutliveABucketThatTakesNothing(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	p.life = 6 * time.Second
	s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
	b := newBrowser(t, s)
	b.logIn()
	token := b.mustFind().Data["access_token"]
	closed := make(chan error, 1)
	p.intercept("/token", func(_ http.ResponseWriter, r *http.Request) bool {
		p.heal()
		closed <- limitEntries(t, nc, 1)
		return false
	})
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	harnessWait(t, 2*storeTime, "a line about it", func() bool { return strings.Contains(s.text(), "cannot be stored, trying again") })
	if b.mustFind().Data["access_token"] != token || p.refreshes() != 1 {
		t.Errorf("%d refreshes, or something was stored", p.refreshes())
	}
	if err := limitEntries(t, nc, -1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		eventually(t, "a new access token", func() bool { return b.mustFind().Data["access_token"] != token })
		token = b.mustFind().Data["access_token"]
	}
}

// limitEntries limits the entries of the sessions' bucket to that many bytes; -1 is no limit.
func limitEntries(t *testing.T, nc *nats.Conn, size int32) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	stream, err := js.Stream(t.Context(), "KV_sessions")
	if err != nil {
		return err
	}
	config := stream.CachedInfo().Config
	config.MaxMsgSize = size
	_, err = js.UpdateStream(t.Context(), config)
	return err
}
