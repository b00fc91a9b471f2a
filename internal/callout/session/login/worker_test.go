package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nkeys"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/webserver"
)

const workerText = "/* the worker */"

// workers is the configuration of a site that serves a worker.
func workers(t testing.TB, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stamp.worker.js")
	if err := os.WriteFile(file, []byte(workerText), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`worker { file: %q, websocket: "wss://nats.example/path", inbox: "_INBOX.{{ session.sub }}"%s }`, file, more)
}

// script fetches worker.js with these Sec-Fetch headers, and returns the settings in it.
func (b *browser) script(dest, mode, site string) (status int, out workerSettings, header http.Header) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.site.base+"/worker.js", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for name, value := range map[string]string{"Sec-Fetch-Dest": dest, "Sec-Fetch-Mode": mode, "Sec-Fetch-Site": site} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	answer, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	line, rest, found := strings.Cut(strings.TrimPrefix(string(text), "self.stampSite="), ";"+noModule+"\n")
	if answer.StatusCode == http.StatusOK && (!found || rest != workerText || json.Unmarshal([]byte(line), &out) != nil) {
		b.t.Fatal("the answer is not the worker's script")
	}
	return answer.StatusCode, out, answer.Header
}

func (b *browser) worker() workerSettings {
	b.t.Helper()
	status, out, _ := b.script("worker", "same-origin", "same-origin")
	if status != http.StatusOK {
		b.t.Fatalf("worker.js has status %d, want 200", status)
	}
	return out
}

// ticket asks for a ticket with a key, as a worker with these settings does.
func (b *browser) ticket(w workerSettings, nkey string) (status int, ticket string) {
	b.t.Helper()
	return b.ticketWith(w.Pass, nkey, base64.RawURLEncoding.EncodeToString(proofOf(w.Secret, nkey)))
}

func (b *browser) ticketWith(pass, nkey, proof string) (status int, ticket string) {
	b.t.Helper()
	body, err := json.Marshal(map[string]string{"pass": pass, "nkey": nkey, "proof": proof})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.askTicket(string(body))
}

func (b *browser) askTicket(body string) (status int, ticket string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.site.base+"/ticket", strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Origin", b.origin())
	answer, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var out struct{ Ticket string }
	_ = json.NewDecoder(answer.Body).Decode(&out) // a refusal is text
	return answer.StatusCode, out.Ticket
}

// signer is a worker's key.
type signer struct {
	nkeys.KeyPair
	public string
}

func newSigner(t testing.TB) signer {
	t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return signer{kp, public}
}

// sign makes the credential of a CONNECT.
func (k signer) sign(t testing.TB, ticket, nonce string) session.Credential {
	t.Helper()
	signature, err := k.Sign([]byte(nonce))
	if err != nil {
		t.Fatal(err)
	}
	return session.Credential{
		Kind: session.Token, Value: ticket, Nkey: k.public, Nonce: nonce, Signature: base64.RawURLEncoding.EncodeToString(signature),
	}
}

func (s *site) connect(t testing.TB, c session.Credential, conn uint64) error {
	t.Helper()
	r := &session.Request{ServerID: "S", ClientID: conn, Credential: c}
	if _, ok := s.Accepts(r); !ok {
		return session.ErrUnknown
	}
	_, err := s.Find(t.Context(), r)
	return err
}

// No answer that a page's script can read has the pass.
func TestWorkerScriptIsForWorkers(t *testing.T) {
	b := newBrowser(t, startSite(t, newProvider(t), startServer(t), newKey(), workers(t, "")))
	if out := b.worker(); out.Pass+out.Secret != "" || out.Visitor.Authenticated {
		t.Errorf("before the login, worker.js has a pass, or the visitor %+v", out.Visitor)
	}
	b.logIn()
	status, out, header := b.script("worker", "same-origin", "same-origin")
	if status != http.StatusOK || out.Pass == "" || out.Secret == "" || !out.Visitor.Authenticated || out.Visitor.Claims["sub"] == "" ||
		out.Visitor.Inbox != fmt.Sprintf("_INBOX.%s", out.Visitor.Claims["sub"]) || out.Websocket != "wss://nats.example/path" || out.Key != keyRequired {
		t.Errorf("worker.js has status %d, and the visitor %+v", status, out.Visitor)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Content-Type": "text/javascript; charset=utf-8", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
		"Content-Security-Policy": "default-src 'none'; connect-src 'self' wss://nats.example",
	} {
		if header.Get(name) != want {
			t.Errorf("header %s of worker.js is %q, want %q", name, header.Get(name), want)
		}
	}
	if again := b.worker(); again.Pass == out.Pass || again.Secret == out.Secret {
		t.Error("two workers have one pass")
	}
	for _, c := range [][3]string{
		{"", "", ""},                            // no browser
		{"empty", "same-origin", "same-origin"}, // fetch(), XMLHttpRequest, a service worker
		{"empty", "cors", "same-origin"},        // the same
		{"worker", "cors", "same-origin"},       // imported by another module worker
		{"script", "no-cors", "same-origin"},    // importScripts, <script>
		{"script", "cors", "same-origin"},       // import()
		{"sharedworker", "same-origin", "same-origin"},
		{"serviceworker", "same-origin", "same-origin"},
		{"iframe", "navigate", "same-origin"},
		{"document", "navigate", "none"},
		{"worker", "same-origin", "same-site"},
		{"worker", "same-origin", "cross-site"},
	} {
		if status, out, _ := b.script(c[0], c[1], c[2]); status != http.StatusForbidden || out.Pass+out.Secret != "" {
			t.Errorf("a request for worker.js with Sec-Fetch headers %v: status %d, want 403 and no pass", c, status)
		}
	}
}

func TestTicketsAreForWorkers(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), workers(t, ""))
	b, other := newBrowser(t, s), newBrowser(t, s)
	b.logIn()
	other.logIn()
	key, wrong := newSigner(t), newSigner(t)
	w := b.worker()
	expect := func(what string, want int, w workerSettings, nkey string) string {
		t.Helper()
		status, ticket := b.ticket(w, nkey)
		if status != want || (ticket == "") != (want != http.StatusOK) {
			t.Errorf("%s: /ticket has status %d, want %d", what, status, want)
		}
		return ticket
	}
	expect("no pass", http.StatusForbidden, workerSettings{}, key.public)
	expect("a made-up pass", http.StatusForbidden, workerSettings{Pass: base64.RawURLEncoding.EncodeToString([]byte("\x01nothing that was sealed"))}, key.public)
	expect("another session's pass", http.StatusForbidden, other.worker(), key.public)
	expect("without the secret", http.StatusForbidden, workerSettings{Pass: w.Pass}, key.public)
	expect("another pass's secret", http.StatusForbidden, workerSettings{Pass: w.Pass, Secret: b.worker().Secret}, key.public)
	expect("no key", http.StatusForbidden, w, "")
	expect("a key that is none", http.StatusForbidden, w, "U"+strings.Repeat("A", 55))
	// A service worker sees the worker's requests, and could send these.
	for _, proof := range []string{"", "====", w.Secret, base64.RawURLEncoding.EncodeToString(proofOf(w.Secret, key.public))} {
		if status, _ := b.ticketWith(w.Pass, wrong.public, proof); status != http.StatusForbidden {
			t.Errorf("a proof of another key: status %d", status)
		}
	}
	for _, body := range []string{"", "[]", "null", `{"pass":1}`, "{", strings.Repeat("[", webserver.MaxBody)} {
		if status, _ := b.askTicket(body); status != http.StatusForbidden {
			t.Errorf("a body of %d bytes: status %d, want 403", len(body), status)
		}
	}
	if n := s.metrics.notEnrolled.Get(); n != 17 {
		t.Errorf("%d refusals are counted, want 17", n)
	}
	first := expect("the worker's own", http.StatusOK, w, key.public)
	second := expect("the next", http.StatusOK, w, key.public)
	expect("its pass with another key", http.StatusForbidden, w, wrong.public)
	expect("a worker more", http.StatusOK, b.worker(), wrong.public)

	refused := func(what string, c session.Credential, conn uint64, want error) {
		t.Helper()
		if err := s.connect(t, c, conn); !errors.Is(err, session.ErrUnknown) || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: expected the credential to be refused with %v; found %v", what, want, err)
		}
	}
	refused("a cookie", session.Credential{Kind: session.Cookie, Value: b.cookie()}, 1, nil)
	refused("a cookie as a token", session.Credential{Kind: session.Token, Value: b.cookie()}, 1, nil)
	refused("a cookie with the key", key.sign(t, b.cookie(), "nonce"), 1, nil)
	refused("the ticket alone", session.Credential{Kind: session.Token, Value: first, Nonce: "nonce"}, 1, errTicketKey)
	refused("with another key", wrong.sign(t, first, "nonce"), 1, errTicketKey)
	forged := wrong.sign(t, first, "nonce")
	forged.Nkey = key.public
	refused("signed with another key", forged, 1, errTicketKey)
	replayed := key.sign(t, first, "another nonce")
	replayed.Nonce = "nonce"
	refused("another nonce's signature", replayed, 1, errTicketKey)
	refused("no nonce", key.sign(t, first, ""), 1, errTicketKey)
	if n := s.metrics.wrongKeys.Get(); n != 5 || !strings.Contains(s.text(), "a ticket comes without its key") {
		t.Errorf("%d wrong keys are counted, want 5, or the log does not tell of them", n)
	}
	for range 2 { // a connect and a renewal
		if err := s.connect(t, key.sign(t, first, "nonce"), 1); err != nil {
			t.Errorf("the worker's connection was refused: %v", err)
		}
	}
	refused("a replay", key.sign(t, first, "nonce"), 2, errTicketUsed)
	b.ask("POST", "/logout", b.origin())
	refused("after the logout", key.sign(t, second, "nonce"), 3, nil)
	for _, secret := range []string{w.Pass, w.Secret, first, second, key.public, wrong.public} {
		if strings.Contains(s.text(), secret) {
			t.Error("the log holds a pass, a ticket or a key")
		}
	}
}

// The browser package takes this refusal, and no other 403, for the end of the session: a proxy may refuse a ticket too.
func TestBrowserPackageKnowsTheRefusal(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "browser", "src", "site.ts"))
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`\nconst notEnrolled = "([^"]*)";\n`).FindSubmatch(source)
	if known == nil {
		t.Fatal("browser/src/site.ts has no text notEnrolled")
	}
	b := newBrowser(t, startSite(t, newProvider(t), startServer(t), newKey(), workers(t, "")))
	b.logIn()
	status, body, _ := b.ask("POST", "/ticket", b.origin())
	if status != http.StatusForbidden || strings.TrimSpace(body) != string(known[1]) {
		t.Errorf("a ticket without a pass is refused with status %d and %q; want 403, and %q as in browser/src/site.ts", status, body, known[1])
	}
}

// If many keys come with one pass at once, exactly one is accepted.
func TestOnePassOneKey(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), workers(t, ""))
	b := newBrowser(t, s)
	b.logIn()
	w := b.worker()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 10 {
		key := newSigner(t)
		wg.Go(func() {
			if status, _ := b.ticket(w, key.public); status == http.StatusOK {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d keys were accepted with one pass, want 1", won)
	}
}

// If the configuration makes the key optional, a browser without Ed25519 connects with tickets alone.
func TestOptionalKey(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), workers(t, ", key: optional"))
	b := newBrowser(t, s)
	b.logIn()
	w := b.worker()
	status, ticket := b.ticket(w, "")
	if err := s.connect(t, session.Credential{Kind: session.Token, Value: ticket}, 1); status != http.StatusOK || err != nil || w.Key != keyOptional {
		t.Errorf("/ticket has status %d, want 200; the ticket alone: error %v", status, err)
	}
	key := newSigner(t)
	if status, _ := b.ticket(w, key.public); status != http.StatusForbidden {
		t.Errorf("a key for a worker that had none: status %d", status)
	}
	_, ticket = b.ticket(b.worker(), key.public)
	if err := s.connect(t, session.Credential{Kind: session.Token, Value: ticket}, 2); !errors.Is(err, errTicketKey) {
		t.Errorf("a worker that has a key can connect without it: expected errTicketKey; found %v", err)
	}
}

func TestWorkerFaults(t *testing.T) {
	p := newProvider(t)
	good := config(p, "127.0.0.1:1", newKey(), workers(t, ""))
	c, err := parse(t, good)
	if err != nil || c.Ticket != workerTicket {
		t.Fatalf("tickets are for %s, want worker; error %v", c.Ticket, err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"no file":     {"stamp.worker.js", "missing.js", "file: open "},
		"file":        {"file: ", "fail: ", `unknown field "fail"`},
		"plain":       {"wss://", "ws://", "websocket: must be a wss URL"},
		"http":        {"wss://", "https://", "websocket: must be a wss URL"},
		"with a user": {"wss://", "wss://u:p@", "websocket: must be a wss URL"},
		"key":         {`{ file`, `{ key: never, file`, "key: required or optional"},
		"inbox":       {"_INBOX.", "_INBOX..", "expected a subject"},
		"expression":  {"session.sub", "session.", "inbox: "},
	} {
		if _, err := parse(t, strings.Replace(good, c.from, c.to, 1)); err == nil || !strings.Contains(err.Error(), c.want) || !placed.MatchString(err.Error()) {
			t.Errorf("%s: expected the fault %q with its place; found %v", name, c.want, err)
		}
	}
}
