package test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/hook"
	"stamp/test/harness"
	"stamp/test/proven"
)

// Values of the matrix. The secret is sealed. The forgery must not be seen anywhere.
const (
	secret    = "top-secret-of-the-matrix"
	ownSecret = "top-secret-of-the-client"
	forgery   = "forged-by-the-client"
	hush      = "top-secret-for-the-receiver" // its header is encrypted, and not sealed
)

// matrixKeys are the keys of all servers that stamp, and of the receiver of their proofs.
var matrixKeys = sync.OnceValue(func() *proven.Keys { return must(proven.NewKeys()) })

// matrixHeaders are the headers of every publisher. Token is bound to the subjects on which this user's messages are
// published, and Apart to other subjects.
func matrixHeaders(subjects string) string {
	return fmt.Sprintf(`headers: {Session: %q, Hush: [%q, second], Roles: [x, y], Token: {value: scoped, subjects: [%s]}, Apart: {value: never, subjects: ["apart.>"]}}`, secret, hush, subjects)
}

// matrixAccounts are the accounts of every server of the two clusters. The users called limited may subscribe to
// little, so that there are many reply subjects to which they could not subscribe.
func matrixAccounts(keyFile, more string) string {
	own := matrixHeaders(`"m.>", "chk.>", "spBv1//0.>", "$sparkplug.>"`)
	const limits = `permissions: {publish: ">", subscribe: ["_INBOX.>", "ok.>", "ask.>", "far.>"]}`
	const reads = `header_permissions: {subscribe: {allow: ["*"]}}`
	return fmt.Sprintf(`
		headers { protected: [Session, X-Guard], sealed: [Session, Hidden], check_replies: true
			proof { key_file: %[6]q, receivers: {"*": %[7]s}, encrypt: [Hush], sign: ["m.will", "spBv1//0.>"] } }
		accounts {
			APP {
				jetstream: enabled
				users: [
					{user: pub, password: pub, %[1]s}, {user: limited, password: limited, %[1]s, %[2]s}
					{user: trusted, password: trusted, %[3]s}, {user: reader, password: reader}
					{user: site_pub, password: site_pub, %[1]s}, {user: site_limited, password: site_limited, %[1]s, %[2]s}
					{user: site_trusted, password: site_trusted, %[3]s}, {user: site_reader, password: site_reader} ]
				exports: [ {stream: "m.>"}, {stream: "ok.>"}, {stream: "spBv1//0.>"}, {stream: "$sparkplug.certificates.>"}, {stream: "$MQTT.rmsgs.>"}
					{service: "m.import"}, {service: "m.import.>"}, {service: "chk.>"}, {service: "$JS.API.>", response: stream} ]
				imports: [ {service: {account: SVC, subject: "far.>"}} ]
			}
			SVC {
				users: [ {user: svc_pub, password: svc_pub, %[4]s}, {user: svc_limited, password: svc_limited, %[4]s, %[2]s} ]
				exports: [ {service: "far.>"} ]
			}
			OTHER {
				users: [
					{user: other_pub, password: other_pub, %[1]s}, {user: other_limited, password: other_limited, %[1]s, %[2]s}
					{user: other_trusted, password: other_trusted, %[3]s}, {user: other_reader, password: other_reader} ]
				imports: [
					{stream: {account: APP, subject: "m.>"}, prefix: from}, {stream: {account: APP, subject: "ok.>"}}, {stream: {account: APP, subject: "spBv1//0.>"}, prefix: from}
					{stream: {account: APP, subject: "$sparkplug.certificates.>"}, prefix: from}, {stream: {account: APP, subject: "$MQTT.rmsgs.>"}, prefix: from}
					{service: {account: APP, subject: "m.import"}}, {service: {account: APP, subject: "m.import.>"}}, {service: {account: APP, subject: "chk.>"}}
					{service: {account: APP, subject: "$JS.API.>"}, to: "APP.API.>"}
					{service: {account: APP, subject: "$JS.API.CONSUMER.CREATE.STORED"}, to: "order.create"} ]
			}
			SYS { users: [ {user: sys, password: sys} ] }
		}
		system_account: SYS
		%[5]s`, own, limits, reads, matrixHeaders(`"_R_.>"`), more, keyFile, matrixKeys().Receiver)
}

// matrix is the topology that all cells share:
//   - A1, A2 and A3 are cluster A, with routes. A3 runs in this process.
//   - B is a cluster of its own, behind a gateway.
//   - site and spoke are leafnodes of A1. Clients of site publish, clients of spoke read.
//   - outside and hub are servers to which cluster A makes leafnode connections. Clients of outside publish, clients of
//     hub read.
//
// Publishers and readers have leafnodes of their own, since a leafnode does not get the messages that it published.
// The last four servers have no headers block.
type matrix struct {
	a1, a2, b                 *harness.Server
	site, spoke, outside, hub *harness.Server
	a3                        *natsserver.Server
	ca                        *harness.CA

	mu      sync.Mutex
	conns   map[string]*nats.Conn
	devices map[string]mqtt.Client
	started map[string]bool // services
	targets *sightings      // the targets on which a message has arrived
	count   int
}

func startMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{ca: harness.NewCA(t), conns: map[string]*nats.Conn{}, devices: map[string]mqtt.Client{}, started: map[string]bool{}}
	keyFile := filepath.Join(t.TempDir(), "proof.nk")
	writeKeyFile(t, keyFile, matrixKeys().ServerSeeds)
	m.hub = harness.Start(t, `
		server_name: hub
		leafnodes { listen: "127.0.0.1:-1" }
		accounts {
			T { users: [ {user: link_trusted, password: link_trusted}, {user: trusted, password: trusted} ] }
			R { users: [ {user: link_reader, password: link_reader}, {user: reader, password: reader} ] }
		}`)
	m.outside = harness.Start(t, `
		server_name: outside
		leafnodes { listen: "127.0.0.1:-1" }
		accounts { OUT { users: [ {user: link, password: link}, {user: pub, password: pub} ] } }`)
	cert, key := m.ca.Issue(t, "localhost")
	// Each server of a cluster has leafnode connections of its own. The other servers do not know of their subscriptions.
	links := fmt.Sprintf(`remotes: [
		{url: "nats://link_trusted:link_trusted@%[1]s", account: APP, header_permissions: {subscribe: {allow: ["*"]}}}
		{url: "nats://link_reader:link_reader@%[1]s", account: APP}
		{url: "nats://link:link@%[2]s", account: APP} ]`, m.hub.Leaf(t), m.outside.Leaf(t))
	at := []string{harness.FreeAddr(t), harness.FreeAddr(t)}
	member := func(i int, more string) string {
		return matrixAccounts(keyFile, strings.Replace(jetStream(t), "{", "{ domain: hub,", 1)+fmt.Sprintf(`
			server_name: A%d
			cluster { name: A, listen: %q, routes: ["nats://%s", "nats://%s"] }
			gateway { name: A, listen: "127.0.0.1:-1" }
			%s`, i+1, at[i], at[0], at[1], more))
	}
	m.a1 = harness.Start(t, member(0, fmt.Sprintf(`
		tls { cert_file: %[1]q, key_file: %[2]q }
		allow_non_tls: true
		websocket { listen: "127.0.0.1:-1", no_tls: true, compression: true }
		mqtt { listen: "127.0.0.1:-1", stream_replicas: 1 }
		leafnodes { listen: "127.0.0.1:-1", %[3]s }`, cert, key, links)))
	m.a2 = harness.Start(t, member(1, fmt.Sprintf("leafnodes { %s }", links)))
	m.b = harness.Start(t, matrixAccounts(keyFile, fmt.Sprintf(`
		server_name: B
		gateway { name: B, listen: "127.0.0.1:-1", gateways: [ {name: A, urls: ["nats://%s"]} ] }`, m.a1.Gateway(t))))
	m.a3 = inProcess(t, matrixAccounts(keyFile, fmt.Sprintf(`
		server_name: A3
		cluster { name: A, listen: "127.0.0.1:-1", routes: ["nats://%s", "nats://%s"] }
		gateway { name: A, listen: "127.0.0.1:-1" }
		leafnodes { %s }`, at[0], at[1], links)))
	m.site = m.leafnode(t, "site", "pub", "limited")
	m.spoke = m.leafnode(t, "spoke", "trusted", "reader")
	harness.Eventually(t, "the leafnode connections", func() bool {
		return len(m.a1.Leafz(t).Leafs) == 7 && len(m.hub.Leafz(t).Leafs) == 6 && len(m.outside.Leafz(t).Leafs) == 3
	})
	harness.Eventually(t, "the cluster's JetStream", func() bool {
		return strings.HasPrefix(healthz(t, m.a1)+healthz(t, m.a2), "200200")
	})
	m.device(t, "trusted") // so that there is a stream for retained messages
	m.streams(t)
	m.targets = newSightings()
	m.serve(t, m.a1, "trusted", "chk.>", func(msg *nats.Msg) { _ = msg.Respond([]byte("answer")) })
	return m
}

// leafnode starts a server that connects to A1 with an account for each of the users.
func (m *matrix) leafnode(t *testing.T, name string, users ...string) *harness.Server {
	t.Helper()
	var accounts, remotes []string
	for _, user := range users {
		accounts = append(accounts, fmt.Sprintf("%[1]s { users: [ {user: %[1]s, password: %[1]s} ] }", user))
		remotes = append(remotes, fmt.Sprintf(`{url: "nats://site_%[1]s:site_%[1]s@%[2]s", account: %[1]s}`, user, m.a1.Leaf(t)))
	}
	return harness.Start(t, fmt.Sprintf("server_name: %s\naccounts { %s }\nleafnodes { remotes: [ %s ] }",
		name, strings.Join(accounts, "\n"), strings.Join(remotes, "\n")))
}

func healthz(t *testing.T, s *harness.Server) string {
	t.Helper()
	resp, err := http.Get("http://" + s.Monitor(t) + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return fmt.Sprint(resp.StatusCode)
}

// inProcess runs a server in this process.
func inProcess(t *testing.T, conf string) *natsserver.Server {
	t.Helper()
	hook.Install()
	opts := natsserver.Options{NoSigs: true, NoLog: true}
	if err := opts.ProcessConfigString("listen: \"127.0.0.1:-1\"\n" + conf); err != nil {
		t.Fatal(err)
	}
	hook.Extend(&opts)
	s, err := natsserver.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// streams makes the streams of the matrix. S has all messages and republishes them. The others get the messages from S. STORED has one
// message, for the rules about requests.
func (m *matrix) streams(t *testing.T) {
	t.Helper()
	js := newJetStream(t, m.conn(t, m.a1, "trusted"))
	all := []*jetstream.StreamSource{{Name: "S"}}
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "S", Subjects: []string{"m.>", "spBv1//0.>", "$sparkplug.certificates.>"},
			Sources: []*jetstream.StreamSource{{Name: "$MQTT_rmsgs"}}, RePublish: &jetstream.RePublish{Destination: "again.>"}},
		{Name: "M", Mirror: &jetstream.StreamSource{Name: "S"}},
		{Name: "SOURCED", Sources: all},
		{Name: "KV_B", Subjects: []string{"$KV.B.>"}, MaxMsgsPerSubject: 1,
			Sources: []*jetstream.StreamSource{{Name: "S", SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: ">", Destination: "$KV.B.>"}}}}},
		{Name: "STORED", Subjects: []string{"stored.>"}, Storage: jetstream.FileStorage},
	} {
		if cfg.Name != "STORED" {
			cfg.Storage = jetstream.MemoryStorage
		}
		cfg.AllowDirect = true
		mustStream(t, js, cfg)
	}
	if _, err := js.PublishMsg(t.Context(), colored("stored.a"), jetstream.WithRetryAttempts(40)); err != nil {
		t.Fatal(err)
	}
}

// ignoreErrors keeps a connection from writing its errors to the standard error, since the test expects refused messages.
var ignoreErrors = nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})

// connectOnce returns the connection of that name. It makes the connection on the first call.
func (m *matrix) connectOnce(t *testing.T, name string, dial func() (*nats.Conn, error)) *nats.Conn {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if nc := m.conns[name]; nc != nil {
		return nc
	}
	nc, err := dial()
	if err != nil {
		t.Fatalf("cannot connect as %s: %v", name, err)
	}
	t.Cleanup(nc.Close)
	m.conns[name] = nc
	return nc
}

func (m *matrix) conn(t *testing.T, s *harness.Server, user string) *nats.Conn {
	t.Helper()
	return m.connectOnce(t, fmt.Sprintf("%p %s", s, user), func() (*nats.Conn, error) { return s.TryConnect(t, userInfo(user), ignoreErrors) })
}

func (m *matrix) device(t *testing.T, user string) mqtt.Client {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.devices[user] == nil {
		m.devices[user], _ = device(t, m.a1, user)
	}
	return m.devices[user]
}

// serve starts a service, once for each user and subject.
func (m *matrix) serve(t *testing.T, s *harness.Server, user, subject string, answer nats.MsgHandler) {
	t.Helper()
	nc := m.conn(t, s, user)
	m.mu.Lock()
	defer m.mu.Unlock()
	if name := fmt.Sprintf("%p %s %s", s, user, subject); !m.started[name] {
		m.started[name] = true
		if _, err := nc.Subscribe(subject, answer); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

// unique returns a new token for a subject.
func (m *matrix) unique() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	return fmt.Sprint("n", m.count)
}

// target returns a new subject below the given one, and watches it.
func (m *matrix) target(t *testing.T, below string) string {
	t.Helper()
	subject := below + "." + m.unique()
	// Watch it in the account of a requester through an import too.
	for _, user := range []string{"trusted", "other_trusted"} {
		nc := m.conn(t, m.a1, user)
		// A message from a consumer has the subject on which it was stored.
		_, err := nc.Subscribe(subject, func(*nats.Msg) { m.targets.put(subject, &sighting{}) })
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return subject
}

// sighting is a message as one reader saw it.
type sighting struct {
	header nats.Header
	text   string // everything that was delivered
}

// sightings are the messages that one reader saw, by seenAs.
type sightings struct {
	mu      sync.Mutex
	seen    map[string]*sighting
	changed chan struct{} // closed and replaced with each message
}

func newSightings() *sightings {
	return &sightings{seen: map[string]*sighting{}, changed: make(chan struct{})}
}

// seenAs returns a key for a message: its payload, which is the id of a way in or a token, and which copy of the
// message it is. subject is the subject as delivered, with any prefix.
func seenAs(subject, payload string) string {
	copies := ""
	if strings.Contains(subject, "$sparkplug") {
		copies += " certificate"
	}
	if strings.Contains(subject, "$MQTT.rmsgs.") {
		copies += " copy"
	}
	return payload + copies
}

func (s *sightings) add(subject string, m *nats.Msg) {
	s.put(seenAs(subject, string(m.Data)), &sighting{m.Header, fmt.Sprint(m.Header) + string(m.Data)})
}

func (s *sightings) put(key string, seen *sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[key] = seen
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sightings) subscribe(t *testing.T, nc *nats.Conn, queue string, subjects ...string) {
	t.Helper()
	for _, subject := range subjects {
		if _, err := nc.QueueSubscribe(subject, queue, func(m *nats.Msg) { s.add(m.Subject, m) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// within waits for a message. It returns nil if the message has not arrived in that time.
func (s *sightings) within(limit time.Duration, key string) *sighting {
	timeout := time.After(limit)
	for {
		s.mu.Lock()
		seen, changed := s.seen[key], s.changed
		s.mu.Unlock()
		if seen != nil {
			return seen
		}
		select {
		case <-changed:
		case <-timeout:
			return nil
		}
	}
}
