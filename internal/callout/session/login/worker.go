package login

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/grant"
	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/webserver"
	"stamp/internal/conf"
)

// Worker is the block of the script that owns a page's connection (browser/ in this repository).
//
// The script is delivered with a pass, without which there are no tickets. Browsers say what a
// request is for (Sec-Fetch-Dest), and no script can change that. So the pass reaches only a worker
// that runs this script. A script that was injected into the page gets no tickets, whatever cookies
// its requests carry. A service worker may see the worker's requests, but it cannot use them: they
// contain a proof for the worker's key, and not the secret of the pass.
type Worker struct {
	File      string    `conf:"file,required"`      // path of stamp.worker.js of the npm package
	Websocket string    `conf:"websocket,required"` // ws or wss URL of the server
	Inbox     conf.Node `conf:"inbox"`              // template of the subject under which answers arrive; default: the client's own
	Key       string    `conf:"key"`                // required (default), or optional for browsers without Ed25519

	script []byte
	inbox  *grant.Subject
	origin string // of Websocket
}

// Values of key.
const (
	keyRequired = "required"
	keyOptional = "optional"
)

func (w *Worker) check(n conf.Node, faults *conf.Faults) {
	if w.Key == "" {
		w.Key = keyRequired
	}
	if w.Key != keyRequired && w.Key != keyOptional {
		faults.Add(n.Get("key"), "key: %s or %s", keyRequired, keyOptional)
	}
	w.checkWebsocket(n.Get("websocket"), faults)
	if !w.Inbox.IsZero() {
		w.inbox = grant.ParseSubject("inbox", w.Inbox, faults)
	}
	if w.File == "" {
		return
	}
	var err error
	if w.script, err = os.ReadFile(w.File); err != nil {
		faults.Add(n.Get("file"), "file: %v", err)
	}
}

// checkWebsocket parses the URL. Its origin becomes a part of a Content-Security-Policy.
func (w *Worker) checkWebsocket(at conf.Node, faults *conf.Faults) {
	if w.Websocket == "" {
		return // Decode has already reported it
	}
	u, err := url.Parse(w.Websocket)
	if err != nil || u.Scheme != "wss" && (u.Scheme != "ws" || !conf.IsLoopback(u.Hostname())) || u.Host == "" || u.User != nil || strings.Contains(w.Websocket, "#") {
		faults.Add(at, "websocket: must be a wss URL, or ws for loopback, without a user and a fragment")
		return
	}
	host, err := hostAndPort(u)
	if err != nil {
		faults.Add(at, "websocket: %v", err)
		return
	}
	w.origin = u.Scheme + "://" + host
}

// workerSettings is what the script learns from us, so that it need not trust the page. Paths are relative to
// that of the script.
type workerSettings struct {
	Websocket string  `json:"websocket"`
	Login     string  `json:"login"`
	Session   string  `json:"session"`
	Logout    string  `json:"logout"`
	Ticket    string  `json:"ticket"`
	Key       string  `json:"key"`
	Visitor   visitor `json:"visitor"`
	Pass      string  `json:"pass,omitempty"`
	Secret    string  `json:"secret,omitempty"` // of the pass
}

// noModule makes the script invalid as a module, in which "with" is not allowed (ECMA-262, strict
// mode). Otherwise a page could make the browser fetch it as a worker's module with modulepreload,
// and import it into the page.
const noModule = "with(self);"

// worker serves the script.
func (s *source) worker(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Sec-Fetch-Dest, Sec-Fetch-Mode, Sec-Fetch-Site")
	if !forWorker(r) {
		webserver.Fail(w, http.StatusForbidden, "only for a worker of this origin")
		return
	}
	e, key, ok := s.found(w, r)
	if !ok {
		return
	}
	cfg := s.cfg.Worker
	out := workerSettings{Websocket: cfg.Websocket, Login: "login", Session: "session", Logout: "logout", Ticket: "ticket", Key: cfg.Key}
	var err error
	if out.Visitor, err = s.visitor(e, key); err == nil && e != nil {
		out.Pass, out.Secret, err = s.cfg.own.newPass(key)
	}
	var text []byte
	if err == nil {
		text, err = json.Marshal(out) // it escapes what could end a script
	}
	if err != nil {
		s.broken(w, "worker", err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Embedder-Policy", "require-corp") // a page with this policy requires it of its workers
	// Should the script ever contain a fault, it can send nothing elsewhere.
	h.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self' "+cfg.origin)
	_, _ = fmt.Fprintf(w, "self.stampSite=%s;%s\n", text, noModule)
	_, _ = w.Write(cfg.script)
}

func (s *source) workerPage() http.Handler { return gzhttp.GzipHandler(http.HandlerFunc(s.worker)) }

// forWorker reports whether a request is for the script of a new worker of this origin (W3C Fetch
// Metadata). Other requests are refused, because scripts could read their answers or run them
// beside their own code: fetch(), a module that another script imports, a frame, and what a service
// worker passes on.
func forWorker(r *http.Request) bool {
	h := r.Header
	return h.Get("Sec-Fetch-Dest") == "worker" && h.Get("Sec-Fetch-Mode") == "same-origin" && h.Get("Sec-Fetch-Site") == "same-origin"
}

// pass is what a worker presents to get a ticket. It is sealed, and the handler stores nothing
// until it is used.
type pass struct {
	Session string `json:"session"` // key of the session
	ID      string `json:"id"`
	Made    int64  `json:"made"`   // Unix milliseconds
	Secret  string `json:"secret"` // the worker proves that it knows it, and does not send it
}

const passName = "pass"

// newPass returns a pass, sealed, and its secret.
func (k sourceKeys) newPass(session string) (sealedText, secret string, err error) {
	p := pass{Session: session, ID: newSecret(), Made: time.Now().UnixMilli(), Secret: newSecret()}
	text, err := json.Marshal(p)
	if err != nil {
		return "", "", err
	}
	value, err := k.seal(passName, text)
	return base64.RawURLEncoding.EncodeToString(value), p.Secret, err
}

func (k sourceKeys) openPass(sealedText string) (p pass, ok bool) {
	value, err := base64.RawURLEncoding.DecodeString(sealedText)
	if err != nil {
		return p, false
	}
	text, err := k.open(passName, value)
	return p, err == nil && json.Unmarshal(text, &p) == nil
}

// proves reports whether a proof for a public key was made with the secret.
func (p pass) proves(proof, nkey string) bool {
	got, err := base64.RawURLEncoding.DecodeString(proof)
	return err == nil && hmac.Equal(got, proofOf(p.Secret, nkey))
}

// proofOf returns the HMAC-SHA-256 (RFC 2104) of a public key, which may be empty.
func proofOf(secret, nkey string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(nkey))
	return mac.Sum(nil)
}

// Reasons to refuse a ticket.
var (
	errNoPass   = errors.New("no worker of ours asks for the ticket")
	errNoKey    = errors.New("the worker has no key, and one is required")
	errOtherKey = errors.New("the worker has shown another key before")
	errOldPass  = errors.New("the worker is too old: many others of the session have come since")
)

// enrolled returns the public key for which a ticket is made: that of the worker whose pass is in
// the request. A pass is bound to the first key that comes with it.
func (s *source) enrolled(r *http.Request, session string) (nkey string, err error) {
	var asked struct {
		Pass  string `json:"pass"`
		Nkey  string `json:"nkey"`
		Proof string `json:"proof"`
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil {
		return "", errNoPass
	}
	p, ok := s.cfg.own.openPass(asked.Pass)
	switch {
	case !ok, p.Session != session, !p.proves(asked.Proof, asked.Nkey):
		return "", errNoPass
	case asked.Nkey == "" && s.cfg.Worker.Key == keyRequired, asked.Nkey != "" && !nkeys.IsValidPublicUserKey(asked.Nkey):
		return "", errNoKey
	}
	store, err := s.opened(r.Context())
	if err != nil {
		return "", err
	}
	return asked.Nkey, store.change(r.Context(), session, func(u *uses) (bool, error) { return u.pass(p, asked.Nkey) })
}

// notEnrolled reports whether an error refuses the worker, in contrast to a failure of ours.
func notEnrolled(err error) bool {
	return slices.ContainsFunc([]error{errNoPass, errNoKey, errOtherKey, errOldPass}, func(known error) bool { return errors.Is(err, known) })
}

// inboxOf returns the subject under which the answers of a session's connections arrive. It is
// empty for the client's own default.
func (c *Config) inboxOf(e *entry, key string) (string, error) {
	if c.Worker == nil || c.Worker.inbox == nil {
		return "", nil
	}
	return c.Worker.inbox.For(&session.Session{Data: e.visible(), Source: c.Name, Key: key})
}
