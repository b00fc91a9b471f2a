package test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/test/harness"
	"stamp/test/proven"
)

// proofKeys makes keys, and the server's key file.
func proofKeys(t *testing.T) (keys *proven.Keys, file string) {
	t.Helper()
	keys, err := proven.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "proof.nk")
	writeKeyFile(t, file, keys.ServerSeeds)
	return keys, file
}

func writeKeyFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// proofConf is a server with proofs. more are further fields of the block proof, and of the headers block.
func proofConf(file, proof, headers string) string {
	return fmt.Sprintf(`
		headers {
			proof { key_file: %q, %s }
			%s
		}
		accounts {
			APP { users: [
				{user: alice, password: alice, headers: {X-User: "alice", Session: "0af3-secret", Roles: ["admin", "ops"], Token: {value: "scoped", subjects: ["api.>"]}}}
				{user: plain, password: plain}
				{user: sub, password: sub} ] }
			OTHER { users: [ {user: bob, password: bob, headers: {X-User: "bob"}}, {user: obs, password: obs} ] }
		}`, file, proof, headers)
}

// proves checks that a message has a proof of the given kind, and returns what it proves.
func proves(t *testing.T, keys *proven.Keys, m *nats.Msg, kind byte) *proven.Proven {
	t.Helper()
	p, err := keys.Check(m.Header, m.Data)
	if err != nil {
		t.Fatalf("the proof of the message on %s does not hold: %v; the headers are %q", m.Subject, err, m.Header)
	}
	if p.Kind != kind {
		t.Errorf("the proof of the message on %s is of kind %d, expected %d", m.Subject, p.Kind, kind)
	}
	return p
}

// hearsAll subscribes a user to all messages of its account.
func hearsAll(t *testing.T, s *harness.Server, user string) *nats.Subscription {
	t.Helper()
	return subscribedTo(t, s.Connect(t, userInfo(user)), ">")
}

// seedsOf returns the seeds of the server.
func seedsOf(keys *proven.Keys) []string {
	return slices.DeleteFunc(strings.Fields(keys.ServerSeeds), func(s string) bool { return !strings.HasPrefix(s, "S") })
}

func hasNoSeed(t *testing.T, s *harness.Server, keys *proven.Keys) {
	t.Helper()
	for _, seed := range seedsOf(keys) {
		if exposes(s.Text(), seed) {
			t.Error("the output has a seed")
		}
	}
}

// Messages are proven for the receiver of their account, and signed on the configured subjects. Encrypted headers show no
// value.
func TestProofs(t *testing.T) {
	keys, file := proofKeys(t)
	s := harness.Start(t, proofConf(file, fmt.Sprintf(`receivers: {APP: %q}, encrypt: [session], sign: ["audit.>"]`, keys.Receiver), ""))
	sub, other := hearsAll(t, s, "sub"), hearsAll(t, s, "obs")
	alice := s.Connect(t, userInfo("alice"))
	publish := func(nc *nats.Conn, sub *nats.Subscription, m *nats.Msg) *nats.Msg {
		t.Helper()
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		return next(t, sub, nil)
	}
	user := map[string][]string{"X-User": {"alice"}, "Session": {"0af3-secret"}, "Roles": {"admin", "ops"}}
	scoped := map[string][]string{"X-User": {"alice"}, "Session": {"0af3-secret"}, "Roles": {"admin", "ops"}, "Token": {"scoped"}}
	for _, c := range []struct {
		subject string
		kind    byte
		want    map[string][]string
	}{
		{"orders.new", 1, user}, {"api.x", 1, scoped}, {"audit.x", 3, user}, {"orders." + strings.Repeat("x", 900), 1, user},
	} {
		for _, payload := range [][]byte{nil, []byte("payload"), bytes.Repeat([]byte("0123456789"), 50_000)} {
			m := &nats.Msg{Subject: c.subject, Data: payload, Header: nats.Header{"Own": {"1"}, "Stamp-Proof": {"forged"}, "stamp.proof": {"forged"}}}
			got := publish(alice, sub, m)
			p := proves(t, keys, got, c.kind)
			if fmt.Sprint(p.Stamped) != fmt.Sprint(c.want) || p.Subject != c.subject || p.Account != "APP" || !p.Encrypted["Session"] {
				t.Errorf("the message on %.40s proves something else than was stamped: %+v", c.subject, p)
			}
			if got.Header.Get("Own") != "1" || exposes(fmt.Sprint(got.Header), "0af3-secret") || !bytes.Equal(got.Data, payload) {
				t.Errorf("the message on %.40s lacks its own header, shows the secret or has another payload: %.300q", c.subject, got.Header)
			}
		}
	}
	// The account OTHER has no receiver, so its messages have only signatures.
	bob := s.Connect(t, userInfo("bob"))
	if m := publish(bob, other, nats.NewMsg("orders.new")); m.Header.Get("Stamp-Proof") != "" || m.Header.Get("Stamp-Account") != "OTHER" {
		t.Errorf("an account without a receiver must have signatures only; the headers are %q", m.Header)
	}
	proves(t, keys, publish(bob, other, nats.NewMsg("audit.new")), 2)
	// A user without headers gets no proof, and cannot send one.
	m := nats.NewMsg("orders.plain")
	m.Header.Set("Stamp-Proof", "forged")
	if got := publish(s.Connect(t, userInfo("plain")), sub, m); len(got.Header) != 0 {
		t.Errorf("a message of a user without headers must have none; it has %q", got.Header)
	}
	v := varzHeaders(t, s)
	if v["proven_messages"] != 13.0 || v["signed_messages"] != 4.0 {
		t.Errorf("expected 13 proven and 4 signed messages in varz; found %v", v)
	}
	hasNoSeed(t, s, keys)
}

// TestProofSalts authenticates connections in all ways: each time there is a new salt, so that no key is used twice.
func TestProofSalts(t *testing.T) {
	keys, file := proofKeys(t)
	conf := func(more string) string {
		return proofConf(file, fmt.Sprintf(`receivers: {"*": %q}, encrypt: [Session]`, keys.Receiver), more)
	}
	servers := []*harness.Server{harness.Start(t, conf("")), harness.Start(t, conf(""))}
	seen := map[[16]byte]string{}
	for i, s := range servers {
		sub := hearsAll(t, s, "sub")
		salt := func(nc *nats.Conn, how string) {
			t.Helper()
			var first [16]byte
			for n := range 3 {
				if err := nc.Publish("orders.new", nil); err != nil {
					t.Fatal(err)
				}
				p := proves(t, keys, next(t, sub, nil), 1)
				if n == 0 {
					first = p.Salt
				}
				if p.Salt != first || p.Counter != uint32(n) {
					t.Errorf("server %d, %s: message %d has the counter %d, and the salt of the first one: %v", i, how, n, p.Counter, p.Salt == first)
				}
			}
			if before, found := seen[first]; found {
				t.Errorf("server %d, %s: the salt is the same as %s", i, how, before)
			}
			seen[first] = fmt.Sprintf("server %d, %s", i, how)
		}
		nc := s.Connect(t, userInfo("alice"))
		salt(nc, "first")
		s.Reload(t, conf("check_replies: true"))
		salt(nc, "after a reload")
		salt(s.Connect(t, userInfo("alice")), "another connection")
	}
	if len(seen) != 6 {
		t.Errorf("expected 6 different salts; found %d", len(seen))
	}
}

// TestProofReload changes keys and receivers while messages are published. Each message is proven with the old or the new keys,
// and connections stay.
func TestProofReload(t *testing.T) {
	before, file := proofKeys(t)
	after, _ := proofKeys(t)
	conf := func(k *proven.Keys) string {
		return proofConf(file, fmt.Sprintf(`receivers: {APP: %q}, encrypt: [Session], sign: ["audit.>"]`, k.Receiver), "")
	}
	s := harness.Start(t, conf(before))
	sub := hearsAll(t, s, "sub")
	nc := s.Connect(t, userInfo("alice"))
	exchange := func(from, to *proven.Keys, reload func()) {
		t.Helper()
		stop, done := make(chan struct{}), make(chan int)
		go func() {
			n := 0
			defer func() { done <- n }()
			for ; ; n++ {
				select {
				case <-stop:
					return
				default:
					_ = nc.Publish([]string{"orders.x", "audit.x"}[n%2], fmt.Append(nil, n))
					_ = nc.Flush()
				}
			}
		}()
		reload()
		close(stop)
		counts := map[*proven.Keys]int{}
		for range <-done {
			m := next(t, sub, nil)
			k := from
			if counts[to] > 0 {
				k = to
			} else if _, err := to.Check(m.Header, m.Data); err == nil {
				k = to
			}
			p := proves(t, k, m, map[string]byte{"orders.x": 1, "audit.x": 3}[m.Subject])
			if p.Stamped["Session"][0] != "0af3-secret" {
				t.Errorf("expected the proven header Session: 0af3-secret; found %q", p.Stamped)
			}
			counts[k]++
		}
		if err := nc.Publish("orders.y", nil); err != nil {
			t.Fatal(err)
		}
		proves(t, to, next(t, sub, nil), 1)
	}
	exchange(before, after, func() {
		writeKeyFile(t, file, after.ServerSeeds)
		s.Reload(t, conf(after))
	})
	// Only the file changes, and not the configuration.
	mixed := before.WithReceiver(after)
	exchange(after, mixed, func() {
		writeKeyFile(t, file, before.ServerSeeds)
		s.Reload(t, conf(after))
	})
	// A file that cannot be read changes nothing.
	for text, want := range map[string]string{"": "key_file: .*: expected the seed", "garbage-" + before.ServerSeeds: "key_file: .*: line 2"} {
		writeKeyFile(t, file, strings.ReplaceAll(text, "\n", "x\n"))
		if line := s.TryReload(t, conf(after)); !strings.Contains(line, "Failed to reload") {
			t.Errorf("expected the reload to fail with %q; the server logged %s", want, line)
		}
		if err := nc.Publish("orders.y", nil); err != nil {
			t.Fatal(err)
		}
		proves(t, mixed, next(t, sub, nil), 1)
	}
	hasNoSeed(t, s, before)
	hasNoSeed(t, s, after)
}

// TestProofFaults checks configurations with -t, and that a server does not start with them.
func TestProofFaults(t *testing.T) {
	keys, file := proofKeys(t)
	seeds := seedsOf(keys)
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		writeKeyFile(t, path, text)
		return path
	}
	onlyX, onlyN := write("x", seeds[0]), write("n", seeds[1])
	receivers := fmt.Sprintf(`receivers: {APP: %q}`, keys.Receiver)
	for name, c := range map[string]struct{ file, proof, want string }{
		"missing file":     {filepath.Join(folder, "none"), receivers, "key_file: open "},
		"no key":           {write("empty", "# nothing\n"), receivers, "expected the seed of a curve key (SX...), of a server key (SN...), or both; found none"},
		"a user's seed":    {write("user", seedOf(t, nkeys.PrefixByteUser)), receivers, "line 1: expected the seed of a curve key (SX...) or of a server key (SN...); found the seed of a key of type user"},
		"a public key":     {write("public", keys.Receiver), receivers, "line 1: expected a seed (SX... or SN...); found a public key"},
		"two of a kind":    {write("two", seeds[0]+"\n\n"+seeds[0]), receivers, "line 3: expected one seed of a curve key (SX...); found a second one"},
		"no SX":            {onlyN, receivers, `receivers: "APP": expected the seed of a curve key (SX...)`},
		"no SN":            {onlyX, receivers + `, sign: ["a"]`, "sign: " + onlyX + ": expected the seed of a server key (SN...)"},
		"not a key":        {file, `receivers: {APP: "XABC"}`, `receivers: "APP": expected the public curve key of a receiver (X...)`},
		"a receiver's SX":  {file, fmt.Sprintf(`receivers: {APP: %q}`, keys.ReceiverSeed), `receivers: "APP": expected the public curve key of a receiver (X...); found a seed`},
		"the server's own": {file, fmt.Sprintf(`receivers: {APP: %q}`, keys.ServerX), `found the key of this server`},
		"unknown account":  {file, fmt.Sprintf(`receivers: {NONE: %q}`, keys.Receiver), `proof: receivers: account "NONE" is not in the configuration`},
		"encrypt alone":    {file, `encrypt: [Session], sign: ["a"]`, "encrypt: expected receivers"},
		"nothing":          {file, "", "proof: expected receivers, sign, or both"},
		"not a name":       {file, receivers + `, encrypt: ["a b"]`, "encrypt: expected a header name"},
		"provenance":       {file, receivers + `, encrypt: ["Stamp-*"]`, `encrypt: "Stamp-*" is no name, or beginning of names, that can be stamped, so nothing would be encrypted: name is reserved`},
		"proof":            {file, receivers + `, encrypt: [stamp_proof]`, `encrypt: "stamp_proof" is no name`},
		"of the server":    {file, receivers + `, encrypt: ["nats.msg*"]`, `encrypt: "nats.msg*" is no name`},
		"of tracing":       {file, receivers + `, encrypt: [Traceparent]`, `encrypt: "Traceparent" is no name`},
		"not a subject":    {file, receivers + `, sign: ["a..b"]`, "sign: expected"},
		"unknown field":    {file, receivers + `, encrpyt: ["a"]`, `unknown field "encrpyt"; did you mean "encrypt"?`},
		"not encrypted":    {file, receivers + `, encrypt: [X-User]`, `user "bob" could not connect: header "X-User": headers.proof.encrypt has this header, and its values cannot be encrypted: headers.proof.receivers has no receiver for the account "OTHER"`},
	} {
		t.Run(name, func(t *testing.T) {
			conf := write("conf", proofConf(c.file, c.proof, ""))
			for _, args := range [][]string{{"-t"}, nil} {
				out, code := run(t, append(args, "-c", conf)...)
				if code == 0 || !strings.Contains(out, c.want) {
					t.Errorf("with %q expected the error %q; found exit code %d:\n%s", args, c.want, code, out)
				}
				for _, secret := range append(seeds, keys.ReceiverSeed) {
					if exposes(out, secret) {
						t.Error("the output has a seed")
					}
				}
			}
		})
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := run(t, "-t", "-c", write("conf", proofConf(file, receivers, "")))
	if code != 0 || !strings.Contains(out, "key_file: all users of this machine can read "+file) {
		t.Errorf("expected a warning that others can read the key file; found exit code %d:\n%s", code, out)
	}
}

func seedOf(t *testing.T, prefix nkeys.PrefixByte) string {
	t.Helper()
	return string(must(must(nkeys.CreatePair(prefix)).Seed()))
}

// sameEntry returns two names with the same entry in a proof.
func sameEntry() (a, b string) {
	seen := map[[3]byte]string{}
	for i := 0; ; i++ {
		name := fmt.Sprintf("x-%d", i)
		sum := sha256.Sum256([]byte(name))
		entry := [3]byte{sum[0] & 0x7f, sum[1], sum[2]}
		if other, found := seen[entry]; found {
			return other, name
		}
		seen[entry] = name
	}
}

// Two headers that a proof could not tell apart are refused by -t.
func TestProofSameEntry(t *testing.T) {
	keys, file := proofKeys(t)
	a, b := sameEntry()
	conf := fmt.Sprintf(`
		headers { proof { key_file: %q, receivers: {"*": %q} } }
		accounts { APP { users: [ {user: u, password: u, headers: {%q: "1", %q: "2"}} ] } }`, file, keys.Receiver, a, b)
	path := filepath.Join(t.TempDir(), "conf")
	writeKeyFile(t, path, conf)
	want := fmt.Sprintf("user %q could not connect: %q and %q: a proof could not tell these headers apart", "u", a, b)
	if out, code := run(t, "-t", "-c", path); code == 0 || !strings.Contains(out, want) {
		t.Errorf("expected the error %q; found exit code %d:\n%s", want, code, out)
	}
}

// TestProofOverALeafnode publishes at a site whose server proves. At the hub the proof arrives if the leafnode's user has
// permission for all names of provenance and of proofs, or if the hub looks at no headers. Otherwise the hub removes it, and
// proves what it stamps itself.
func TestProofOverALeafnode(t *testing.T) {
	site, siteFile := proofKeys(t)
	hub, hubFile := proofKeys(t)
	proof := func(file string, keys *proven.Keys) string {
		return fmt.Sprintf(`proof { key_file: %q, receivers: {"*": %q} }`, file, keys.Receiver)
	}
	for name, c := range map[string]struct {
		headers, user string
		from          *proven.Keys // whose proof arrives
	}{
		"hub without headers":       {"", "", site},
		"provenance, permission":    {"provenance: true", `header_permissions: {publish: {allow: ["X-User", "Stamp-*"]}}`, site},
		"provenance, no permission": {"provenance: true", "", nil},
		"provenance, without that of proofs": {"provenance: true",
			`header_permissions: {publish: {allow: ["X-User", Stamp-Account, Stamp-Subject, Stamp-Time]}}`, nil},
		"proof, permission":    {proof(hubFile, hub), `header_permissions: {publish: {allow: ["X-User", "Stamp-*"]}}`, site},
		"proof, no permission": {proof(hubFile, hub), `headers: {X-User: "the site"}`, hub},
		"proof, without that of proofs": {proof(hubFile, hub),
			`headers: {X-User: "the site"}, header_permissions: {publish: {allow: [Stamp-Account, Stamp-Subject, Stamp-Time]}}`, hub},
	} {
		t.Run(name, func(t *testing.T) {
			headers := ""
			if c.headers != "" {
				headers = "headers { " + c.headers + " }"
			}
			h := harness.Start(t, fmt.Sprintf(`
				%s
				accounts { HUB { users: [{user: reader, password: reader}] } }
				leafnodes { listen: "127.0.0.1:-1", authorization { users: [ {user: site, password: site, account: HUB, %s} ] } }`, headers, c.user))
			s := harness.Start(t, fmt.Sprintf(`
				headers { %s }
				accounts { SITE { users: [{user: pub, password: pub, headers: {X-User: "ann"}}] } }
				leafnodes { remotes: [{url: "nats://site:site@%s", account: SITE}] }`, proof(siteFile, site), h.Leaf(t)))
			m := heard(t, s.Connect(t, userInfo("pub")), hearsAll(t, h, "reader"), &nats.Msg{Subject: "t.x", Data: []byte("payload")})
			if c.from == nil {
				if m.Header.Get("Stamp-Proof") != "" {
					t.Errorf("expected the hub to remove the site's proof; the headers are %q", m.Header)
				}
				return
			}
			p := proves(t, c.from, m, 1)
			want := map[*proven.Keys]string{site: "SITE ann", hub: "HUB the site"}[c.from]
			if got := p.Account + " " + strings.Join(p.Stamped["X-User"], ","); got != want {
				t.Errorf("the site's proof says %q, expected %q", got, want)
			}
		})
	}
}
