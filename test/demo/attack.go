package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// The web server's part of the page's attacks.

// maxLoot is how much a script may have found in one place.
const maxLoot = 8 << 20

// search reports whether the body holds a secret: the visitor's session id, or a token. With it, the page shows that its own
// script found none. The page cannot look by itself, since it does not know the secrets.
func (w *web) search(rw http.ResponseWriter, r *http.Request) {
	loot, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxLoot))
	if err != nil {
		http.Error(rw, fmt.Sprintf("what was found is longer than %d bytes", maxLoot), http.StatusRequestEntityTooLarge)
		return
	}
	var secrets []string
	for _, c := range r.CookiesNamed(cookieName) {
		secrets = append(secrets, c.Value, w.sessions.token(r.Context(), c.Value))
	}
	if w.worker != nil {
		secrets = append(secrets, w.worker.provider.secrets()...)
	}
	found := false
	for _, secret := range secrets {
		found = found || secret != "" && bytes.Contains(loot, []byte(secret))
	}
	writeJSON(rw, http.StatusOK, map[string]bool{"found": found})
}

// hiddenLine is a header block that no client library would send: a line feed alone, which some
// libraries take for the end of a line, hides a second line.
const hiddenLine = "NATS/1.0\r\nColor: red\nSession: forged\r\n\r\n"

// malformed sends a malformed header block for the page, which cannot: its worker, or its client
// library, writes the blocks. The connection is opened with a session of its own that ends with it.
func (w *web) malformed(rw http.ResponseWriter, r *http.Request) {
	fault, err := w.sendMalformed(r.Context(), "http://"+r.Host)
	if err != nil {
		w.broken(rw, err)
		return
	}
	writeJSON(rw, http.StatusOK, map[string]string{"refusal": fault})
}

func (w *web) sendMalformed(ctx context.Context, origin string) (fault string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	id, err := w.sessions.create(ctx, visitorName)
	if err != nil {
		return "", err
	}
	defer func() { _ = w.sessions.remove(context.WithoutCancel(ctx), id) }()
	header := upgradeHeader(origin, &http.Cookie{Name: cookieName, Value: id})
	raw, err := dialRaw(ctx, "ws"+strings.TrimPrefix(w.websocket, "http"), header, inboxPrefix(visitorName)+".raw")
	if err != nil {
		return "", err
	}
	defer raw.close()
	return raw.ask(hiddenLine)
}

// leak keeps the last ticket that the handler gave out, as a careless proxy's log would. It is for
// the attack that replays a ticket.
type leak struct {
	mu     sync.Mutex
	ticket string
}

// maxTicketAnswer is more than an answer with a ticket has.
const maxTicketAnswer = 64 << 10

// overhear reads the tickets in the answers of the handler's pages.
func (l *leak) overhear(r *http.Response) error {
	if r.Request.URL.Path != "/auth/ticket" || r.StatusCode != http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxTicketAnswer))
	if err != nil {
		return err
	}
	_ = r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	var answer struct{ Ticket string }
	if json.Unmarshal(body, &answer) == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ticket = answer.Ticket
	}
	return nil
}

func (l *leak) serve(rw http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	writeJSON(rw, http.StatusOK, map[string]string{"ticket": l.ticket})
}
