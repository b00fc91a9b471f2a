package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// Handlers of auth callouts: the bundled one, and the smallest that does the same
// on the same libraries (smallest.go). Each listens in an account of its own, on one
// stock server, and gets the requests that a server would send, made beforehand.
const (
	bundled  = "nats-callout, cached session"
	smallest = "smallest handler"
)

var calloutArms = []string{bundled, smallest}

var calloutPairs = []pair{{"nats-callout / smallest handler", bundled, smallest}}

// calloutSessions is the number of sessions. calloutWindow is how many requests are under way at once.
const (
	calloutSessions = 100
	calloutWindow   = 256
)

const calloutServerConf = `
jetstream { store_dir: %q }
accounts {
  A { jetstream: enabled, users: [{user: a, password: benchmark}] }
  B { users: [{user: b, password: benchmark}] }
}
`

const calloutHandlerConf = `
connect { urls: [%q], user: a, password: benchmark }
issuer: %s
xkey: %s
`

// calloutGrants is for a handler beside a server, or inside one.
const calloutGrants = `
sessions: [{kind: kv, bucket: sessions, cache: 1h%s}]
grants: [{
  when: 'session.user != nil', account: APP, user: "{{ session.user }}"
  publish: ["api.>"], subscribe: ["_INBOX.{{ session.user }}.>"], expires: "15m"
  headers: {Session: "{{ credential }}", X-User: "{{ session.user }}"}
}]
`

// calloutKeys are the keys that handler and server share.
type calloutKeys struct {
	issuer, xkey, server, serverXKey nkeys.KeyPair
}

func newCalloutKeys() (*calloutKeys, error) {
	var k calloutKeys
	var errs [4]error
	k.issuer, errs[0] = nkeys.CreateAccount()
	k.xkey, errs[1] = nkeys.CreateCurveKeys()
	k.server, errs[2] = nkeys.CreateServer()
	k.serverXKey, errs[3] = nkeys.CreateCurveKeys()
	return &k, errors.Join(errs[:]...)
}

// text returns a key's seed, or its public key, as text.
func text(f func() ([]byte, error)) string {
	b, err := f()
	if err != nil {
		panic(err) // the pairs were made here
	}
	return string(b)
}

func publicKey(kp nkeys.KeyPair) string {
	s, err := kp.PublicKey()
	if err != nil {
		panic(err)
	}
	return s
}

// requests makes n encrypted authorization requests.
func (k *calloutKeys) requests(n int) ([]*nats.Msg, error) {
	out := make([]*nats.Msg, n)
	for i := range out {
		user, err := nkeys.CreateUser()
		if err != nil {
			return nil, err
		}
		c := jwt.NewAuthorizationRequestClaims(publicKey(k.issuer))
		c.Audience, c.UserNkey = "nats-authorization-request", publicKey(user)
		c.Server = jwt.ServerID{Name: "bench", Host: "127.0.0.1", ID: publicKey(k.server), Version: "2.15.2", XKey: publicKey(k.serverXKey)}
		c.ClientInformation = jwt.ClientInformation{Host: "192.0.2.1", ID: uint64(i), Kind: "Client", Type: "websocket"}
		c.ConnectOptions = jwt.ConnectOptions{Token: sessionID(i % calloutSessions), Lang: "nats.js", Version: "3.4.0", Protocol: 1}
		c.Expires = time.Now().Add(time.Hour).Unix()
		token, err := c.Encode(k.server)
		if err != nil {
			return nil, err
		}
		data, err := k.serverXKey.Seal([]byte(token), publicKey(k.xkey))
		if err != nil {
			return nil, err
		}
		out[i] = &nats.Msg{Subject: calloutSubject, Data: data, Header: nats.Header{xkeyHeader: {publicKey(k.serverXKey)}}}
	}
	return out, nil
}

func sessionID(i int) string { return fmt.Sprintf("session-%024d", i) }

// handler is the process of a handler, with a connection in its account.
type handler struct {
	cmd *exec.Cmd
	nc  *nats.Conn
}

func (h *handler) stop() {
	if h.nc != nil {
		h.nc.Close()
	}
	_ = h.cmd.Process.Kill() // it may have ended
	_ = h.cmd.Wait()
}

func (r *runner) calloutRounds(ctx context.Context) error {
	if r.bin.callout == "" {
		return nil
	}
	if err := r.calloutConnectRounds(ctx); err != nil {
		return err
	}
	keys, err := newCalloutKeys()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-callout-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	server, err := start(ctx, r.bin.stock, fmt.Sprintf(calloutServerConf, filepath.Join(dir, "js")))
	if err != nil {
		return err
	}
	defer server.stop()
	if err := writeSessions(ctx, server.addr, calloutSessions); err != nil {
		return err
	}
	requests, err := keys.requests(r.plan.callouts)
	if err != nil {
		return err
	}
	handlers := map[string]*handler{}
	defer func() {
		for _, h := range handlers {
			h.stop()
		}
	}()
	for _, arm := range calloutArms {
		h, err := r.startHandler(ctx, arm, keys, server.addr, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", arm, err)
		}
		handlers[arm] = h
	}
	return r.res.callout.rounds(r.plan.calloutRounds, calloutArms, func(arm string) (float64, error) {
		return measureCallouts(handlers[arm], requests)
	})
}

func writeSessions(ctx context.Context, addr string, n int) error {
	nc, err := nats.Connect("nats://"+addr, nats.UserInfo("a", password))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	bucket, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "sessions", Storage: jetstream.MemoryStorage})
	if err != nil {
		return err
	}
	for i := range n {
		data, err := json.Marshal(map[string]any{"user": fmt.Sprint("user", i), "roles": []string{"a", "b"}})
		if err != nil {
			return err
		}
		if _, err := bucket.Put(ctx, sessionID(i), data); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) startHandler(ctx context.Context, arm string, keys *calloutKeys, addr, dir string) (*handler, error) {
	url := "nats://" + addr
	h, user := &handler{}, "b"
	if arm == bundled {
		user = "a"
		var err error
		if h.cmd, err = r.handlerCommand(ctx, keys, url, dir); err != nil {
			return nil, err
		}
	} else {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		h.cmd = exec.CommandContext(ctx, self, "-smallest", url)
		h.cmd.Env = append(os.Environ(), "ISSUER="+text(keys.issuer.Seed), "XKEY="+text(keys.xkey.Seed))
	}
	h.cmd.Stderr = os.Stderr
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	var err error
	if h.nc, err = nats.Connect(url, nats.UserInfo(user, password)); err != nil {
		h.stop()
		return nil, err
	}
	if err := h.answers(keys); err != nil {
		h.stop()
		return nil, err
	}
	return h, nil
}

// answers waits until the handler listens, and checks what it says.
func (h *handler) answers(keys *calloutKeys) error {
	requests, err := keys.requests(1)
	if err != nil {
		return err
	}
	var m *nats.Msg
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m, err = h.nc.RequestMsg(requests[0], timeout); !errors.Is(err, nats.ErrNoResponders) {
			break
		}
	}
	if err != nil {
		return err
	}
	token, err := keys.serverXKey.Open(m.Data, publicKey(keys.xkey))
	if err != nil {
		return err
	}
	response, err := jwt.DecodeAuthorizationResponseClaims(string(token))
	if err != nil {
		return err
	}
	if response.Error != "" {
		return errors.New(response.Error)
	}
	_, err = jwt.DecodeUserClaims(response.Jwt)
	return err
}

// measureCallouts is the CPU time, in ns, of the handler for a callout.
func measureCallouts(h *handler, requests []*nats.Msg) (float64, error) {
	answers := make(chan *nats.Msg, calloutWindow)
	inbox := nats.NewInbox()
	sub, err := h.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is closed soon
	before, err := cpuTime(h.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	limit := time.After(timeout)
	for sent, got := 0, 0; got < len(requests); {
		if sent < len(requests) && sent-got < calloutWindow {
			requests[sent].Reply = inbox
			if err := h.nc.PublishMsg(requests[sent]); err != nil {
				return 0, err
			}
			sent++
			continue
		}
		select {
		case <-answers:
			got++
		case <-limit:
			return 0, fmt.Errorf("%d of %d callouts were answered in time", got, len(requests))
		}
	}
	after, err := cpuTime(h.cmd.Process.Pid)
	return float64(after-before) / float64(len(requests)), err
}
