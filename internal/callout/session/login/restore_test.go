package login

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/internal/callout/session"
)

// backup is what "nats stream backup" keeps of a bucket.
type backup struct {
	stream        string
	config, state json.RawMessage
	chunks        [][]byte
}

// apiAnswer is the part of the answers to a backup and a restore that is used here.
type apiAnswer struct {
	Error   any             `json:"error"`
	Deliver string          `json:"deliver_subject"`
	Config  json.RawMessage `json:"config"`
	State   json.RawMessage `json:"state"`
}

func askAPI(t *testing.T, nc *nats.Conn, subject string, request any) (answer apiAnswer) {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	m, err := nc.Request(subject, body, timeout)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil || answer.Error != nil {
		t.Fatalf("%s: %v %s", subject, err, m.Data)
	}
	return answer
}

func takeBackup(t *testing.T, nc *nats.Conn, bucket string) backup {
	t.Helper()
	sub, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	answer := askAPI(t, nc, "$JS.API.STREAM.SNAPSHOT."+streamOf(bucket), map[string]any{"deliver_subject": sub.Subject, "no_consumers": true, "chunk_size": 65536})
	b := backup{stream: streamOf(bucket), config: answer.Config, state: answer.State}
	for {
		m, err := sub.NextMsg(timeout)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Data) == 0 {
			return b
		}
		b.chunks = append(b.chunks, m.Data)
		if m.Reply != "" {
			_ = m.Respond(nil)
		}
	}
}

// restore replaces the bucket by its backup.
func (b backup) restore(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := mustJetStream(t, nc).DeleteStream(t.Context(), b.stream); err != nil {
		t.Fatal(err)
	}
	to := askAPI(t, nc, "$JS.API.STREAM.RESTORE."+b.stream, map[string]any{"config": b.config, "state": b.state}).Deliver
	for _, chunk := range append(b.chunks, nil) {
		m, err := nc.Request(to, chunk, timeout)
		if err != nil {
			t.Fatal(err)
		}
		if chunk == nil && strings.Contains(string(m.Data), `"error"`) {
			t.Fatalf("restore: %s", m.Data)
		}
	}
}

func (s *site) logOutAlice(t *testing.T) int {
	t.Helper()
	return s.logOutBy(t, s.provider.sign(s.provider.key, logoutClaims(func(map[string]any) {})))
}

// checkRestored waits for a session that was restored, and then for a logout that is answered with 200, which must have ended it.
func (s *site) checkRestored(t *testing.T, b *browser) {
	t.Helper()
	harnessWait(t, 2*timeout, "the restored session", func() bool { _, err := s.find(t, session.Cookie, b.cookie()); return err == nil })
	harnessWait(t, 2*timeout, "a logout that is carried out", func() bool { return s.logOutAlice(t) == http.StatusOK })
	if _, err := s.find(t, session.Cookie, b.cookie()); err == nil {
		t.Error("the logout was answered with 200, and the restored session lives")
	}
}

// Both buckets are lost and made anew, and the index counts as complete. Then the sessions are restored from a backup. A logout
// by the provider ends the restored sessions, or is answered with 503.
func TestLogoutAfterARestoreOfTheSessions(t *testing.T) {
	nc, p, key := startServer(t), newProvider(t), newKey()
	s := startSite(t, p, connectedTo(t, nc), key, "")
	b := newBrowser(t, s)
	b.logIn()
	kept := takeBackup(t, nc, "sessions")
	js := mustJetStream(t, nc)
	for _, bucket := range []string{"sessions", "sessions-index"} {
		if err := js.DeleteKeyValue(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
	other := newBrowser(t, s)
	harnessWait(t, 2*timeout, "a login into the new buckets", func() bool {
		status, _, _ := other.ask("GET", "/login?to=/inbox", "")
		return status == http.StatusSeeOther && other.cookie() != ""
	})
	next := startSite(t, p, connectedTo(t, nc), key, "")
	opened, err := next.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the index to be marked as complete", func() bool {
		done, err := opened.isComplete(t.Context(), next.states(t))
		return err == nil && done
	})
	kept.restore(t, nc)
	next.checkRestored(t, b)
}

// The sessions are restored from a backup in which a session lives that has ended since, so that the index has no name of it.
func TestLogoutOfARestoredSessionThatHadEnded(t *testing.T) {
	nc, p, key := startServer(t), newProvider(t), newKey()
	s := startSite(t, p, connectedTo(t, nc), key, "")
	b := newBrowser(t, s)
	b.logIn()
	kept := takeBackup(t, nc, "sessions")
	if code := s.logOutAlice(t); code != http.StatusOK || !s.ended(t, b) {
		t.Fatalf("the first logout has status %d", code)
	}
	kept.restore(t, nc)
	s.checkRestored(t, b)
}
