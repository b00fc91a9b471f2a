package test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/natsmsg"
	"stamp.example/receivers/go/stamptest"
	"stamp/test/harness"
)

// startProving starts a server with the keys of a maker of proofs.
func startProving(t *testing.T, maker *stamptest.Server) *harness.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proof.nk")
	if err := os.WriteFile(file, []byte(maker.CurveSeed+"\n"+maker.SignSeed+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return harness.Start(t, fmt.Sprintf(`
		headers { proof { key_file: %q, receivers: { APP: %q }, encrypt: ["Session"], sign: ["audit.>"] } }
		jetstream { store_dir: %q }
		accounts {
			APP { jetstream: enabled, users: [
				{user: alice, password: alice, headers: {X-User: "alice", Session: "0af3 Grüße ✓", Roles: ["admin", "ops"]}}
				{user: orders, password: orders, headers: {X-User: "orders"}}
				{user: plain, password: plain} ] }
			OTHER { users: [ {user: bob, password: bob, headers: {X-User: "bob"}} ] }
		}`, file, maker.Receiver, t.TempDir()))
}

func receiverOptions(maker *stamptest.Server) stamp.Options {
	return stamp.Options{
		User: "X-User", One: []string{"Session"}, Many: []string{"Roles"}, MaxAge: time.Hour, Replays: 100,
		Accounts: map[string][]string{"APP": {"orders.>", "audit.>", "stock.>"}, "OTHER": {"audit.new"}},
		Servers:  maker.Servers(), Keys: maker.Keys(),
	}
}

// The receiver in Go accepts the messages that the server proves, from a subscription and from a stream. stamptest makes the
// same proofs as the server.
func TestReceiverTakesProofs(t *testing.T) {
	maker := stamptest.NewServer()
	s := startProving(t, maker)
	trust := must(stamp.NewTrust(receiverOptions(maker)))
	alice, plain := s.Connect(t, userInfo("alice")), s.Connect(t, userInfo("plain"))
	js := must(jetstream.New(plain))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream := must(js.CreateStream(ctx, jetstream.StreamConfig{Name: "ALL", Subjects: []string{"orders.>", "audit.>"}}))
	consumer := must(stream.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy}))
	sub := subscribedTo(t, plain, "*.new")
	servers := map[string]string{"orders.new": maker.Servers()[1], "audit.new": maker.Servers()[0]} // a tag, and a signature
	for _, subject := range []string{"orders.new", "audit.new"} {
		for _, payload := range []string{"", "payload"} {
			m := nats.NewMsg(subject)
			m.Data = []byte(payload)
			m.Header.Set("Own", "1")
			m.Header.Set("x_user", "mallory")
			if err := alice.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			got := next(t, sub, nil)
			id, err := stamp.Identify(natsmsg.Msg(got), trust)
			if err != nil || id.User != "alice" || id.Value("Session") != "0af3 Grüße ✓" || !slices.Equal(id.Values("Roles"), []string{"admin", "ops"}) ||
				id.Subject != subject || id.Account != "APP" || !id.Proven || id.Server != servers[subject] {
				t.Errorf("the message on %s: found %+v, error %v; the headers are %q", subject, id, err, got.Header)
			}
			madeAlike(t, maker, got, subject == "audit.new")
			stored := must(consumer.Next(jetstream.FetchMaxWait(harness.Timeout)))
			if _, err := stamp.Identify(natsmsg.JetStream(stored), trust); stamp.VerdictOf(err) != stamp.Replayed {
				t.Errorf("the stored message on %s, which came before: %v", subject, err)
			}
			id, err = stamp.Identify(natsmsg.JetStream(stored), must(stamp.NewTrust(receiverOptions(maker))))
			if err != nil || id.User != "alice" {
				t.Errorf("the stored message on %s: found %+v, error %v; the headers are %q", subject, id, err, stored.Headers())
			}
			got.Data = append(got.Data, 'x')
			if _, err := stamp.Identify(natsmsg.Msg(got), trust); stamp.VerdictOf(err) != stamp.ProofWrong {
				t.Errorf("%s: a changed payload must be proof-wrong; found %v", subject, err)
			}
		}
	}
	// The account OTHER has no receiver, so its messages are proven by signatures alone.
	bob := s.Connect(t, userInfo("bob"))
	sub = subscribedTo(t, bob, "*.new")
	if err := bob.Publish("audit.new", nil); err != nil {
		t.Fatal(err)
	}
	if id, err := stamp.Identify(natsmsg.Msg(next(t, sub, nil)), trust); err != nil || id.User != "bob" || id.Account != "OTHER" || id.Server != servers["audit.new"] {
		t.Errorf("expected the signed identity of bob in OTHER; found %+v, error %v", id, err)
	}
	sub = subscribedTo(t, plain, "orders.plain")
	if err := plain.PublishMsg(&nats.Msg{Subject: "orders.plain", Header: nats.Header{"X-User": {"alice"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stamp.Identify(natsmsg.Msg(next(t, sub, nil)), trust); stamp.VerdictOf(err) != stamp.Anonymous {
		t.Errorf("expected a message without a stamp to be anonymous; found %v", err)
	}
}

// A message that somebody has read is not taken on another endpoint of the service, on whatever way it comes there; nor does a proof that
// a holder of the receiver's seed has made for another subject pass the list of signed ones.
func TestOneSubjectOneHandler(t *testing.T) {
	maker := stamptest.NewServer()
	s := startProving(t, maker)
	stock := harness.StartStock(t, `listen: "127.0.0.1:-1"`) // brings headers as they are
	options := receiverOptions(maker)
	options.Replays, options.Signed = 0, []string{"audit.>"}
	trust := must(stamp.NewTrust(options))
	called := make(chan string, 100)
	serve := func(nc *nats.Conn) micro.Service {
		service := must(micro.AddService(nc, micro.Config{Name: "orders", Version: "1.0.0"}))
		for _, subject := range []string{"orders.show", "orders.delete", "audit.pay"} {
			handler := natsmsg.Handle(trust, func(id stamp.Identity, r micro.Request) {
				called <- subject + " for " + id.Subject
				_ = r.Respond(nil)
			})
			if err := service.AddEndpoint(strings.ReplaceAll(subject, ".", "-"), handler, micro.WithEndpointSubject(subject)); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		return service
	}
	plain, mallory := s.Connect(t, userInfo("plain")), stock.Connect(t)
	service := serve(plain)
	serve(mallory)
	refused := func(how string, nc *nats.Conn, m *nats.Msg, want stamp.Verdict) {
		t.Helper()
		answer := must(nc.RequestMsg(m, harness.Timeout))
		if got := answer.Header.Get(micro.ErrorHeader); got != string(want) {
			t.Errorf("%s: the endpoint answers %q, want %q", how, got, want)
		}
	}
	js := must(jetstream.New(plain))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream := must(js.CreateStream(ctx, jetstream.StreamConfig{Name: "ALL", Subjects: []string{"orders.>"}, NoAck: true}))
	consumer := must(stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "C", AckPolicy: jetstream.AckNonePolicy}))
	sub := subscribedTo(t, plain, "orders.show")
	request(t, s.Connect(t, userInfo("alice")), "orders.show", "7")
	copied := next(t, sub, nil)
	if got := <-called; got != "orders.show for orders.show" {
		t.Fatalf("called: %s", got)
	}
	for _, subject := range []string{"orders.delete", "audit.pay"} {
		refused("published again on "+subject, mallory, &nats.Msg{Subject: subject, Header: copied.Header, Data: copied.Data}, stamp.Misdirected)
	}
	// JetStream delivers the stored message to a subject that the asking client names, with the subject of the stored message. An answer
	// would acknowledge the message.
	answers := subscribedTo(t, plain, "$JS.ACK.ALL.C.>")
	if err := plain.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.ALL."+consumer.CachedInfo().Name, "orders.delete", nil); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "orders.delete has the message that JetStream delivers", func() bool {
		for _, endpoint := range service.Stats().Endpoints {
			if endpoint.Subject == "orders.delete" && endpoint.NumRequests > 0 {
				return true
			}
		}
		return false
	})
	if err := plain.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := answers.Pending(); n > 0 || err != nil {
		t.Errorf("delivered by JetStream: the endpoint answers %d times (%v), want no answer", n, err)
	}
	// Of kind 1, as a holder of the receiver's seed can make it: the secret is the same on both ends.
	for said, want := range map[string]stamp.Verdict{"audit.pay": stamp.Unsigned, "orders.show": stamp.Misdirected} {
		m := maker.Stamp(map[string][]string{"X-User": {"alice"}}, said, []byte("1000 to mallory"))
		refused("a proof of kind 1 that says "+said, mallory, &nats.Msg{Subject: "audit.pay", Header: m.Header, Data: m.Payload}, want)
	}
	if len(called) > 0 {
		t.Errorf("an endpoint was called: %s", <-called)
	}
}

// madeAlike makes a message of the server with stamptest, and compares the two.
func madeAlike(t *testing.T, maker *stamptest.Server, m *nats.Msg, sign bool) {
	t.Helper()
	proof := must(base64.RawURLEncoding.DecodeString(m.Header.Get("Stamp-Proof")))
	lines, err := stamptest.Make(stamptest.Input{
		CurveSeed: maker.CurveSeed, SignSeed: maker.SignSeed, Receiver: maker.Receiver, Salt: [16]byte(proof[5:]), Counter: binary.BigEndian.Uint32(proof[21:]),
		Account: "APP", Subject: m.Subject, Time: m.Header.Get("Stamp-Time"), Encrypt: []string{"Session"}, Sign: sign, Payload: m.Data,
		Headers: []stamp.Line{{"X-User", "alice"}, {"Session", "0af3 Grüße ✓"}, {"Roles", "admin"}, {"Roles", "ops"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range stamp.Lines(lines) {
		if !slices.Equal(values, m.Header[name]) {
			t.Errorf("the message on %s: the server wrote %s: %q, stamptest %q", m.Subject, name, m.Header[name], values)
		}
	}
}

// A program outside of the repository can import the receiver, with the commands and the code of receivers/README.md. It then
// has nats.go and its dependencies, and neither the patched server nor another package of ours. Without the adapters, the
// receiver needs only the standard library.
func TestReceiverModuleStandsAlone(t *testing.T) {
	_, blocks := pageText(t, "receivers/README.md")
	code := map[string]string{}
	for _, block := range blocks { // the first of each language: those of Go
		if _, ok := code[block.Language]; !ok {
			code[block.Language] = block.Text
		}
	}
	module, dir := publicModules(t)["receivers/go"], t.TempDir()
	program := fmt.Sprintf("package main\n\nimport (\n\t%q\n\t\"os\"\n\t%q\n\t%q\n\tstamp %q\n\t%q\n)\n\nfunc main() {\n\tservers, seed := os.Args[2:], os.Args[1]\n\tnc, err0 := nats.Connect(\"\")\n%s\n\tfmt.Println(err0, err, err2, err3)\n}\n",
		"fmt", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/micro", module, module+"/natsmsg", code["go"])
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	goIn(t, dir, "mod", "init", "service.example/orders")
	for command := range strings.Lines(strings.ReplaceAll(code["sh"], "/path/to/the/clone", clone(t))) {
		args, ok := strings.CutPrefix(strings.TrimSpace(command), "go ")
		if !ok {
			t.Fatalf("receivers/README.md: expected go commands in the block of sh, found %q", command)
		}
		goIn(t, dir, strings.Fields(args)...)
	}
	goIn(t, dir, "build", "-o", os.DevNull, ".")
	const format = "{{if not .Standard}}{{.Module.Path}}{{end}}"
	for path := range strings.FieldsSeq(goIn(t, dir, "list", "-deps", "-f", format, ".")) {
		if path != module && path != "service.example/orders" && !strings.HasPrefix(path, "github.com/nats-io/n") && !strings.HasPrefix(path, "github.com/klauspost/compress") && !strings.HasPrefix(path, "golang.org/x/") || strings.Contains(path, "nats-server") {
			t.Errorf("a program that imports the receiver imports a package of the module %s", path)
		}
	}
	for _, pkg := range []string{module, module + "/stamptest"} {
		for path := range strings.FieldsSeq(goIn(t, dir, "list", "-deps", "-f", format, pkg)) {
			if path != module {
				t.Errorf("%s needs the module %s, want none but its own", pkg, path)
			}
		}
	}
	if out := goIn(t, "../receivers/go", "mod", "tidy", "-diff"); out != "" {
		t.Errorf("receivers/go/go.mod is not tidy:\n%s", out)
	}
	if string(must(os.ReadFile("../LICENSE"))) != string(must(os.ReadFile("../receivers/go/LICENSE"))) {
		t.Error("receivers/go/LICENSE is not LICENSE, which a module has only if it is in the module's own folder")
	}
}

// The example of the receiver in Go: a service that asks another one on behalf of its user.
func TestReceiverExample(t *testing.T) {
	maker := stamptest.NewServer()
	s := startProving(t, maker)
	dir := t.TempDir()
	goIn(t, "../receivers/go", "build", "-o", filepath.Join(dir, "example"), "./example")
	trust := must(json.Marshal(map[string]any{
		"user": "X-User", "max_age": 3600, "accounts": map[string][]string{"APP": {"orders.>", "stock.>"}}, "servers": maker.Servers(), "keys": maker.Keys(), "replays": 100,
	}))
	if err := os.WriteFile(filepath.Join(dir, "trust.json"), trust, 0o600); err != nil {
		t.Fatal(err)
	}
	example := exec.Command(filepath.Join(dir, "example"), "-server", "nats://orders:orders@"+s.Addr(t), "-trust", filepath.Join(dir, "trust.json"))
	example.Stderr = os.Stderr
	out := must(example.StdoutPipe())
	if err := example.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = example.Process.Kill()
		_ = example.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("expected the example to say ready; it says %q, error %v", line, err)
	}
	for user, want := range map[string]string{
		"alice": "thank you, alice: orders takes 3 for alice, who asked on orders.new",
		"plain": "401 anonymous",
	} {
		reply, err := s.Connect(t, userInfo(user)).Request("orders.new", []byte("3"), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got := string(reply.Data)
		if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
			got = code + " " + reply.Header.Get("Nats-Service-Error")
		}
		if got != want {
			t.Errorf("%s is answered %q, expected %q", user, got, want)
		}
	}
	// Without a forwarded proof, the service stock refuses the request.
	reply := must(s.Connect(t, userInfo("alice")).Request("stock.take", nil, 10*time.Second))
	if reply.Header.Get("Nats-Service-Error") != "on behalf of nobody: anonymous" {
		t.Errorf("expected stock to refuse a request on behalf of nobody; it answered %q %s", reply.Header, reply.Data)
	}
}
