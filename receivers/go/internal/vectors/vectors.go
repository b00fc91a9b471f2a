// Package vectors makes receivers/vectors.json, make.json and mutations.json: what receivers in all languages must say of
// which messages. The verdicts are written down here or follow from how a case was made; the receiver in Go does not
// decide them. `go test ./internal/vectors -update` writes the files.
package vectors

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/internal/maker"
	"stamp.example/receivers/go/internal/wire"
	"stamp.example/receivers/go/stamptest"
)

// Case is one message, and what a receiver must say of it.
type Case struct {
	Name      string       `json:"name"`
	Trust     Trust        `json:"trust"`
	Now       string       `json:"now"`                 // RFC 3339
	Before    []Message    `json:"before,omitempty"`    // messages that the receiver judged before
	Forwarded bool         `json:"forwarded,omitempty"` // the header Stamp-Forwarded-Proof is judged
	Arrived   string       `json:"arrived,omitempty"`   // the subject on which the message arrived, if that is known
	Subjects  []string     `json:"subjects,omitempty"`  // the handler is for messages that were published on these
	Headers   []stamp.Line `json:"headers"`
	Payload   []byte       `json:"payload"` // base64
	Want      Want         `json:"want"`
}

// Message is a message that was judged before.
type Message struct {
	Arrived string       `json:"arrived,omitempty"`
	Headers []stamp.Line `json:"headers"`
	Payload []byte       `json:"payload"`
}

// Trust is what the receiver trusts, with the fields of docs/proofs.md.
type Trust struct {
	User     string              `json:"user"`
	One      []string            `json:"one,omitempty"`
	Many     []string            `json:"many,omitempty"`
	Accounts map[string][]string `json:"accounts,omitempty"`
	MaxAge   int                 `json:"max_age,omitempty"`
	MaxSkew  int                 `json:"max_skew,omitempty"`
	Servers  []string            `json:"servers,omitempty"`
	Keys     []string            `json:"keys,omitempty"`
	Signed   []string            `json:"signed,omitempty"`
	Replays  int                 `json:"replays,omitempty"`
}

// Want is the verdict, and the identity if it is ok.
type Want struct {
	Verdict stamp.Verdict       `json:"verdict"`
	User    string              `json:"user,omitempty"`
	Values  map[string][]string `json:"values,omitempty"` // by the names of the trust; those that the message has
	Account string              `json:"account,omitempty"`
	Subject string              `json:"subject,omitempty"`
	Time    string              `json:"time,omitempty"`
	Proven  bool                `json:"proven,omitempty"`
	Server  string              `json:"server,omitempty"` // the public key with which it was proven
}

// Seeds, the same at every run.

func seed(label string) [32]byte { return sha256.Sum256([]byte("stamp vectors " + label)) }

func curveSeed(label string) string { return wire.EncodeCurveSeed(seed(label)) }

func serverSeed(label string) string { return wire.EncodeServerSeed(seed(label)) }

func curveKey(label string) wire.Key {
	s := seed(label)
	private, err := ecdh.X25519().NewPrivateKey(s[:])
	if err != nil {
		panic(err)
	}
	return wire.Key(private.PublicKey().Bytes())
}

func curve(label string) string { return wire.EncodeCurve(curveKey(label)) }

func serverKey(label string) wire.Key {
	s := seed(label)
	return wire.Key(ed25519.NewKeyFromSeed(s[:]).Public().(ed25519.PublicKey))
}

func server(label string) string { return wire.EncodeServer(serverKey(label)) }

// Keys whose ids are those of other ones, and names whose entries are. They were found by trying.
const (
	serverA, serverAlike = "server a", "server a 56767"
	app, appAlike        = "app", "app 32042"
	signA, signAlike     = "sign a", "sign a 26114"
	userAlike            = "X-N51467"
	rolesAlike           = "X-N242246"
)

const (
	secret  = "s3cret-Ünï✓"
	at      = "2026-03-01T12:00:00.123456789Z"
	Now     = "2026-03-01T12:00:10Z"
	subject = "orders.new"
	account = "APP"
)

var payload = []byte(`{"item": 7}`)

// kinds of messages that most things are tried with.
var kinds = []string{"receiver", "encrypted", "signed", "both"}

// input is what a message of that kind is made of.
func input(kind string) stamptest.Input {
	in := stamptest.Input{
		CurveSeed: curveSeed(serverA), SignSeed: serverSeed(signA), Receiver: curve(app),
		Salt: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Counter: 7,
		Account: account, Subject: subject, Time: at,
		Headers: []stamp.Line{{"X-User", "alice"}, {"X-Roles", "admin"}, {"X-Tenant", "acme"}, {"X-Roles", "dev"}, {"Session", secret}},
		Payload: slices.Clone(payload),
	}
	if kind == "encrypted" || kind == "both" {
		in.Encrypt = []string{"Session"}
	}
	in.Sign = kind == "signed" || kind == "both"
	return in
}

// trust trusts the server of input.
func trust() Trust {
	return Trust{
		User: "X-User", One: []string{"X-Tenant", "Session"}, Many: []string{"X-Roles"},
		Accounts: map[string][]string{account: {"orders.>"}},
		Servers:  []string{curve(serverA), server(signA)}, Keys: []string{curveSeed(app)},
	}
}

// identity is that of input.
func identity() Want {
	return Want{
		Verdict: stamp.OK, User: "alice", Account: account, Subject: subject, Time: at, Proven: true,
		Values: map[string][]string{"X-Tenant": {"acme"}, "Session": {secret}, "X-Roles": {"admin", "dev"}},
	}
}

// provenBy returns the public key of the server that says who it is: that of the signature, or else that of the tag.
func provenBy(in stamptest.Input) string {
	if in.Sign {
		private, err := wire.ParseServerSeed(in.SignSeed)
		if err != nil {
			panic(err)
		}
		return wire.EncodeServer(wire.Key(private.Public().(ed25519.PublicKey)))
	}
	private, err := wire.ParseCurveSeed(in.CurveSeed)
	if err != nil {
		panic(err)
	}
	return wire.EncodeCurve(wire.Key(private.PublicKey().Bytes()))
}

// draft is a case that is being made.
type draft struct {
	Case
	in   stamptest.Input
	made bool
}

// An edit changes a draft.
type edit func(*draft)

// make makes the message, so that later edits change the message and not what it is made of.
func (d *draft) make() {
	if d.made {
		return
	}
	d.made = true
	lines, err := stamptest.Make(d.in)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", d.Name, err))
	}
	d.Headers, d.Payload = lines, d.in.Payload
}

// generator collects cases.
type generator struct {
	cases []Case
	names map[string]bool
}

// add adds a case that begins with a message of that kind, whose identity is the usual one if the verdict is ok.
func (g *generator) add(kind, name string, verdict stamp.Verdict, edits ...edit) *Case {
	d := &draft{in: input(kind)}
	d.Name, d.Trust, d.Now, d.Want = kind+": "+name, trust(), Now, identity()
	if g.names[d.Name] {
		panic("two cases are named " + d.Name)
	}
	g.names[d.Name] = true
	for _, e := range edits {
		e(d)
	}
	d.make()
	switch {
	case verdict != stamp.OK:
		d.Want = Want{Verdict: verdict}
	case d.Want.Proven:
		d.Want.Server = provenBy(d.in)
	}
	g.cases = append(g.cases, d.Case)
	return &g.cases[len(g.cases)-1]
}

// Edits before the message is made.

func made(f func(*stamptest.Input)) edit {
	return func(d *draft) {
		if d.made {
			panic(d.Name + ": the message is made already")
		}
		f(&d.in)
	}
}

// stamped makes the stamped headers these.
func stamped(lines ...stamp.Line) edit {
	return made(func(in *stamptest.Input) { in.Headers = lines })
}

func trusted(f func(*Trust)) edit { return func(d *draft) { f(&d.Trust) } }

func want(f func(*Want)) edit { return func(d *draft) { f(&d.Want) } }

// values says which values of the identity there are.
func values(v map[string][]string) edit { return want(func(w *Want) { w.Values = v }) }

func judged(when string) edit { return func(d *draft) { d.Now = when } }

// Edits of the message.

func lines(f func([]stamp.Line) []stamp.Line) edit {
	return func(d *draft) {
		d.make()
		d.Headers = f(slices.Clone(d.Headers))
	}
}

// added adds a line after all others.
func added(name, value string) edit {
	return lines(func(l []stamp.Line) []stamp.Line { return append(l, stamp.Line{name, value}) })
}

// before adds a line before all others.
func before(name, value string) edit {
	return lines(func(l []stamp.Line) []stamp.Line { return slices.Insert(l, 0, stamp.Line{name, value}) })
}

func removed(name string) edit {
	return lines(func(l []stamp.Line) []stamp.Line {
		return slices.DeleteFunc(l, func(line stamp.Line) bool { return line[0] == name })
	})
}

// doubled repeats the first line of a name.
func doubled(name string) edit {
	return lines(func(l []stamp.Line) []stamp.Line {
		i := slices.IndexFunc(l, func(line stamp.Line) bool { return line[0] == name })
		return slices.Insert(l, i, l[i])
	})
}

func valued(name string, f func(string) string) edit {
	return lines(func(l []stamp.Line) []stamp.Line {
		for i := range l {
			if l[i][0] == name {
				l[i][1] = f(l[i][1])
				return l
			}
		}
		panic("no line " + name)
	})
}

func set(name, value string) edit { return valued(name, func(string) string { return value }) }

func renamed(from, to string) edit {
	return lines(func(l []stamp.Line) []stamp.Line {
		for i := range l {
			if l[i][0] == from {
				l[i][0] = to
			}
		}
		return l
	})
}

func only(lines ...stamp.Line) edit {
	return func(d *draft) { d.made, d.Headers, d.Payload = true, lines, payload }
}

func carrying(payload []byte) edit {
	return func(d *draft) {
		d.make()
		d.Payload = payload
	}
}

// raw changes the bytes of the proof.
func raw(f func([]byte) []byte) edit {
	return valued(wire.Proof, func(v string) string { return encode(f(decode(v))) })
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(v string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(v)
	if err != nil {
		panic(err)
	}
	return b
}

// flipped changes one bit of the byte of the proof at i, from the end if it is negative.
func flipped(i int, bit byte) edit {
	return raw(func(b []byte) []byte {
		b[(i+len(b))%len(b)] ^= bit
		return b
	})
}

// crafted makes the message of the fields as they are, in their order, as no server does. The headers are the fields, provenance
// first.
func crafted(kind byte, fields ...maker.Field) edit {
	return func(d *draft) {
		in := d.in
		proof, err := maker.Make(maker.Input{
			Kind: kind, CurveSeed: in.CurveSeed, SignSeed: in.SignSeed, Receiver: in.Receiver, Salt: in.Salt, Counter: in.Counter,
			Fields: fields, Payload: in.Payload,
		})
		if err != nil {
			panic(err)
		}
		d.made, d.Payload = true, in.Payload
		for _, f := range fields {
			for _, v := range f.Values {
				d.Headers = append(d.Headers, stamp.Line{f.Name, v})
			}
		}
		d.Headers = append(d.Headers, stamp.Line{wire.Proof, encode(proof)})
	}
}

func provenance() []maker.Field {
	return []maker.Field{
		{Name: wire.Account, Values: []string{account}, Bare: true},
		{Name: wire.Subject, Values: []string{subject}, Bare: true},
		{Name: wire.Time, Values: []string{at}, Bare: true},
	}
}

func entry(name string, values ...string) maker.Field { return maker.Field{Name: name, Values: values} }

// Offsets in proofs of kinds with a tag.
const (
	serverAt   = 1
	receiverAt = 3
	saltAt     = 5
	counterAt  = 21
	signerAt   = 1  // kind 2
	signer3At  = 25 // kind 3
)

// entriesAt is where the entries of a kind begin.
func entriesAt(kind string) int {
	switch kind {
	case "signed":
		return 3
	case "both":
		return 27
	default:
		return 25
	}
}

// Cases returns all cases.
func Cases() []Case {
	g := &generator{names: map[string]bool{}}
	for _, kind := range kinds {
		g.messages(kind)
		g.proofs(kind)
	}
	g.keys()
	g.entries()
	g.encrypted()
	g.readers()
	g.subjects()
	g.signed()
	g.handlers()
	g.times()
	g.unproven()
	g.replays()
	g.forwarded()
	g.large()
	g.hostile()
	return g.cases
}

// messages has changes of a message that are the same for each kind.
func (g *generator) messages(kind string) {
	add := func(name string, verdict stamp.Verdict, edits ...edit) { g.add(kind, name, verdict, edits...) }
	add("valid", stamp.OK)
	add("lines in the reverse order", stamp.OK, lines(func(l []stamp.Line) []stamp.Line {
		slices.Reverse(l)
		first := slices.IndexFunc(l, func(line stamp.Line) bool { return line[0] == "X-Roles" })
		l[first][1], l[first+2][1] = l[first+2][1], l[first][1]
		return l
	}))
	add("other headers", stamp.OK, added("Nats-Stream", "ORDERS"), before("Other", "x"), added("Other", "y"), added("other", "z"))
	add("names of one byte, of no token, and of characters that are left out", stamp.OK, added("x", "1"), added("", "2"), added("é", "3"), added(" ", "4"), added("\x00", "5"))
	add("empty payload", stamp.OK, made(func(in *stamptest.Input) { in.Payload = nil }))
	add("payload of all bytes", stamp.OK, made(func(in *stamptest.Input) {
		in.Payload = make([]byte, 256)
		for i := range in.Payload {
			in.Payload[i] = byte(i)
		}
	}))
	add("payload changed", stamp.ProofWrong, carrying([]byte(`{"item": 8}`)))
	add("payload cut", stamp.ProofWrong, carrying(payload[:len(payload)-1]))
	add("payload longer", stamp.ProofWrong, carrying([]byte(string(payload)+"\x00")))
	add("payload gone", stamp.ProofWrong, carrying(nil))
	add("subject changed", stamp.ProofWrong, set(wire.Subject, "orders.old"))
	add("subject in capitals", stamp.ProofWrong, set(wire.Subject, "orders.New"))
	add("account changed", stamp.ProofWrong, set(wire.Account, "OTHER"))
	add("account and subject shift", stamp.ProofWrong, set(wire.Account, "APPo"), set(wire.Subject, "rders.new"))
	add("time changed", stamp.ProofWrong, set(wire.Time, "2026-03-01T12:00:00.123456788Z"))
	add("user changed", stamp.ProofWrong, set("X-User", "bob"))
	add("user longer by white space", stamp.ProofWrong, set("X-User", "alice "))
	add("user empty", stamp.ProofWrong, set("X-User", ""))
	add("values swapped", stamp.ProofWrong, lines(swapRoles))
	add("one value removed", stamp.ProofWrong, lines(func(l []stamp.Line) []stamp.Line {
		return slices.DeleteFunc(l, func(line stamp.Line) bool { return line[1] == "dev" })
	}))
	add("a value added", stamp.ProofWrong, added("X-Roles", "root"))
	add("two values joined", stamp.ProofWrong, removed("X-Roles"), added("X-Roles", "admin, dev"))
	for _, name := range []string{"X-User", "X-Roles", "Session", wire.Account, wire.Subject, wire.Time} {
		add("without "+name, stamp.FieldMissing, removed(name))
	}
	add("without proof", stamp.Anonymous, removed(wire.Proof))
	add("nothing but the proof", stamp.FieldMissing, lines(func(l []stamp.Line) []stamp.Line { return l[len(l)-1:] }))
	add("no headers", stamp.Anonymous, only())
	add("user doubled", stamp.ProofWrong, doubled("X-User"))
	add("another user after it", stamp.ProofWrong, added("X-User", "bob"))
	add("another user before it", stamp.ProofWrong, before("X-User", "bob"))
	add("session doubled", stamp.ProofWrong, doubled("Session"))
	for _, name := range wire.Provenance {
		add("two lines "+name, stamp.FieldTwice, doubled(name))
		add(name+" in small letters", stamp.FieldTwice, renamed(name, strings.ToLower(name)))
		add("another spelling beside "+name, stamp.FieldTwice, added(strings.ReplaceAll(name, "-", "_"), "x"))
	}
	for _, alias := range []string{"x-user", "X_User", "X.User", "X-User ", "X-User\t", "\ufeffX-User", "X-\u212aUser"} {
		add(fmt.Sprintf("alias %+q after the user", alias), stamp.FieldTwice, added(alias, "bob"))
		add(fmt.Sprintf("user spelled %+q", alias), stamp.ProofWrong, renamed("X-User", alias))
	}
	add("alias with the same value before the user", stamp.FieldTwice, before("x_user", "alice"))
	add("alias of a header that the service does not read", stamp.FieldTwice, trusted(func(t *Trust) { t.Many = nil }), added("x_roles", "root"))
	add("other letters that look alike are another name", stamp.OK, added("Х-User", "bob"), added("X-Uſer", "bob"))
	add("a header that is not proven is read", stamp.FieldUncovered, trusted(func(t *Trust) { t.One = append(t.One, "X-Extra") }), added("X-Extra", "1"))
	add("a header with values that is not proven is read", stamp.FieldUncovered, trusted(func(t *Trust) { t.Many = append(t.Many, "X-Extra") }), added("x-extra", "1"))
	add("a header that is read is not there", stamp.OK, trusted(func(t *Trust) { t.One = append(t.One, "X-Extra") }))
	add("the user is another header, which is not there", stamp.Anonymous, trusted(func(t *Trust) { t.User = "X-Name" }))
	add("the user is another header, which is not proven", stamp.FieldUncovered, trusted(func(t *Trust) { t.User = "X-Name" }), added("X-Name", "bob"))
	add("several values where one is expected", stamp.FieldTwice, trusted(func(t *Trust) { t.One, t.Many = append(t.One, "X-Roles"), nil }))
	add("the user has several values", stamp.FieldTwice, trusted(func(t *Trust) { t.User, t.Many = "X-Roles", nil }))
	add("the trust spells names in another way", stamp.OK, trusted(func(t *Trust) {
		t.User, t.One, t.Many = "x.user", []string{"X_TENANT", "session"}, []string{"X-ROLES"}
	}), values(map[string][]string{"X_TENANT": {"acme"}, "session": {secret}, "X-ROLES": {"admin", "dev"}}))
	add("the trust reads the user alone", stamp.OK, trusted(func(t *Trust) { t.One, t.Many = nil, nil }), values(nil))
	add("another account", stamp.WrongAccount, trusted(func(t *Trust) { t.Accounts = map[string][]string{"OTHER": {">"}} }))
	add("another subject", stamp.WrongSubject, trusted(func(t *Trust) { t.Accounts = map[string][]string{account: {"orders.old", "admin.>"}} }))
	add("too old", stamp.Old, trusted(func(t *Trust) { t.MaxAge = 9 }))
	add("not too old", stamp.OK, trusted(func(t *Trust) { t.MaxAge = 10 }))
	add("published in the future", stamp.Future, trusted(func(t *Trust) { t.MaxAge = 9 }), judged("2026-03-01T11:59:55Z"))
}

func swapRoles(l []stamp.Line) []stamp.Line {
	var at []int
	for i := range l {
		if l[i][0] == "X-Roles" {
			at = append(at, i)
		}
	}
	l[at[0]][1], l[at[1]][1] = "dev", "admin"
	return l
}

// proofs has changes of the proof's bytes.
func (g *generator) proofs(kind string) {
	add := func(name string, verdict stamp.Verdict, edits ...edit) { g.add(kind, name, verdict, edits...) }
	text := func(f func(string) string) edit { return valued(wire.Proof, f) }
	add("proof with padding", stamp.ProofMalformed, text(func(v string) string { return v + strings.Repeat("=", (4-len(v)%4)%4) }))
	add("proof with a line break", stamp.ProofMalformed, text(func(v string) string { return v[:20] + "\n" + v[20:] }))
	add("proof with a carriage return at the end", stamp.ProofMalformed, text(func(v string) string { return v + "\r" }))
	add("proof with a space before it", stamp.ProofMalformed, text(func(v string) string { return " " + v }))
	add("proof with a character that is not of base64url", stamp.ProofMalformed, text(func(v string) string { return v[:8] + "+" + v[9:] }))
	add("proof with a character that is not ASCII", stamp.ProofMalformed, text(func(v string) string { return v[:8] + "Ａ" + v[9:] }))
	add("proof with bits after the last byte", stamp.ProofMalformed, text(func(v string) string {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, v[len(v)-1])
		return v[:len(v)-1] + alphabet[last+1:last+2]
	}))
	add("proof with a character too much", stamp.ProofMalformed, text(func(v string) string { return v + "AA" }))
	add("proof empty", stamp.ProofMalformed, set(wire.Proof, ""))
	add("proof of one character", stamp.ProofMalformed, set(wire.Proof, "A"))
	add("proof of the kind alone", stamp.ProofMalformed, raw(func(b []byte) []byte { return b[:1] }))
	for _, version := range []byte{0, 4, 127, 255} {
		add(fmt.Sprintf("kind %d", version), stamp.ProofVersion, raw(func(b []byte) []byte {
			b[0] = version
			return b
		}))
	}
	add("kind 4 alone", stamp.ProofVersion, set(wire.Proof, "BA"))
	add("kind 4, longer than a proof can be", stamp.ProofVersion, set(wire.Proof, encode(append([]byte{4}, make([]byte, 3500)...))))
	add("longer than a proof can be", stamp.ProofMalformed, raw(func(b []byte) []byte { return append(b, make([]byte, 3300)...) }))
	add("a byte too short", stamp.ProofMalformed, raw(func(b []byte) []byte { return b[:len(b)-1] }))
	long := strings.Repeat("A", wire.MaxText)
	proof := func(f func(string) string) edit { return valued(wire.Proof, f) }
	add("text of 4100 characters", stamp.ProofMalformed, proof(func(v string) string { return v[:4] + long }))
	add("text of 4100 characters that is no base64", stamp.ProofMalformed, proof(func(v string) string { return v[:4] + long[1:] + "=" }))
	add("text of 4100 characters, another version", stamp.ProofVersion, proof(func(string) string { return "BAAA" + long }))
	add("text of 4100 characters that is no base64, another version", stamp.ProofVersion, proof(func(string) string { return "BAAA" + long[1:] + "=" }))
	add("text of 4100 characters that begins with none of base64", stamp.ProofMalformed, proof(func(string) string { return "BAA=" + long }))
	add("short text that is no base64, another version", stamp.ProofVersion, proof(func(string) string { return "BAAA=" }))
	add("another version in text that is no base64 at once", stamp.ProofMalformed, proof(func(string) string { return "BA==" }))
	add("long text in fewer characters than bytes, another version", stamp.ProofVersion, proof(func(string) string { return "BAAA" + strings.Repeat("é", 3000) }))
	add("long text in fewer characters than bytes", stamp.ProofMalformed, proof(func(v string) string { return v[:4] + strings.Repeat("é", 3000) }))
	add("a byte too long", stamp.ProofMalformed, raw(func(b []byte) []byte { return append(b, 0) }))
	add("an entry too short", stamp.ProofWrong, raw(func(b []byte) []byte { return b[:len(b)-3] }))
	add("an entry removed", stamp.ProofWrong, raw(func(b []byte) []byte { return slices.Delete(b, entriesAt(kind)+3, entriesAt(kind)+6) }), trusted(func(t *Trust) { t.Many = nil }))
	add("without entries", stamp.ProofWrong, raw(func(b []byte) []byte { return slices.Delete(b, entriesAt(kind), entriesAt(kind)+12) }))
	add("two proofs", stamp.ProofMalformed, doubled(wire.Proof))
	add("two proofs, the first one wrong", stamp.ProofMalformed, before(wire.Proof, "AQ"))
	add("another spelling beside the proof", stamp.ProofMalformed, added("stamp_proof", "x"))
	add("proof in small letters", stamp.ProofMalformed, renamed(wire.Proof, "stamp-proof"))
	add("an entry unknown", stamp.FieldMissing, flipped(entriesAt(kind)+2, 1))
	add("an entry for a name that is not stamped, of a header that is there", stamp.ProofWrong, raw(func(b []byte) []byte {
		e := wire.EntryOf("x-zero")
		return slices.Insert(b, entriesAt(kind)+12, e[:]...)
	}), added("X-Zero", "0"))
	if kind == "signed" {
		add("id of the signer", stamp.ProofKey, flipped(signerAt+1, 1))
		add("an entry that says that it is encrypted", stamp.ProofMalformed, flipped(entriesAt(kind), 0x80))
	} else {
		add("id of the server", stamp.ProofKey, flipped(serverAt, 1))
		add("id of the receiver", stamp.ProofKey, flipped(receiverAt, 1))
		add("salt", stamp.ProofWrong, flipped(saltAt+15, 1))
		add("counter", stamp.ProofWrong, flipped(counterAt+3, 1))
		add("an entry that says that its values are encrypted, which are no base64", stamp.FieldMalformed, flipped(entriesAt(kind)+9, 0x80))
		add("an entry that says that its values are encrypted, which are base64", stamp.ProofWrong, flipped(entriesAt(kind)+6, 0x80))
	}
	if kind == "both" {
		add("id of the signer", stamp.ProofKey, flipped(signer3At, 1))
		add("tag", stamp.ProofWrong, flipped(entriesAt(kind)+12, 1))
		add("kind 1 with the same tag", stamp.ProofWrong, raw(func(b []byte) []byte {
			b[0] = wire.KindReceiver
			b = b[:len(b)-wire.SignatureSize]
			return slices.Delete(b, signer3At, signer3At+2)
		}))
		asSigned := func(b []byte) []byte {
			signed := append([]byte{wire.KindSigned}, b[signer3At:entriesAt(kind)+12]...)
			return append(signed, b[len(b)-wire.SignatureSize:]...)
		}
		add("kind 2 with the same signature", stamp.ProofMalformed, raw(asSigned))
		add("kind 2 with the same signature, and nothing encrypted", stamp.ProofWrong, raw(func(b []byte) []byte {
			b = asSigned(b)
			b[entriesAt("signed")] &^= 0x80
			return b
		}))
	}
	if kind == "encrypted" || kind == "both" {
		add("an entry that says that its values are not encrypted", stamp.ProofWrong, flipped(entriesAt(kind), 0x80))
	}
	add("the last byte", stamp.ProofWrong, flipped(-1, 0x40))
	for _, other := range []struct {
		name string
		edit func(*stamptest.Input)
	}{
		{"salt", func(in *stamptest.Input) { in.Salt[0]++ }},
		{"counter", func(in *stamptest.Input) { in.Counter++ }},
		{"time", func(in *stamptest.Input) { in.Time = "2026-03-01T12:00:01.000000000Z" }},
		{"account", func(in *stamptest.Input) { in.Account = "OTHER" }},
		{"subject", func(in *stamptest.Input) { in.Subject = "orders.old" }},
		{"user", func(in *stamptest.Input) { in.Headers[0][1] = "bob" }},
		{"payload", func(in *stamptest.Input) { in.Payload = []byte("x") }},
	} {
		in := input(kind)
		other.edit(&in)
		lines, err := stamptest.Make(in)
		if err != nil {
			panic(err)
		}
		verdict := stamp.ProofWrong
		// Without encrypted values nothing of a proof but the proof itself depends on the salt and the counter; and a signature depends on
		// neither.
		if kind == "receiver" && (other.name == "salt" || other.name == "counter") || kind == "signed" && (other.name == "salt" || other.name == "counter") {
			verdict = stamp.OK
		}
		add("the proof of a message with another "+other.name, verdict, set(wire.Proof, lines[len(lines)-1][1]))
	}
}

// keys has other keys, several of them, and keys with the same id.
func (g *generator) keys() {
	tr := func(servers, keys []string) edit {
		return trusted(func(t *Trust) { t.Servers, t.Keys = servers, keys })
	}
	for _, kind := range kinds {
		add := func(name string, verdict stamp.Verdict, edits ...edit) { g.add(kind, "keys: "+name, verdict, edits...) }
		keyed := kind != "signed"
		// verdictIf is ok for the kinds for which a condition holds.
		verdictIf := func(fits bool, other stamp.Verdict) stamp.Verdict {
			if fits {
				return stamp.OK
			}
			return other
		}
		add("other servers", stamp.ProofKey, tr([]string{curve("server b"), server("sign b")}, []string{curveSeed(app)}))
		add("several servers", stamp.OK, tr([]string{server("sign b"), curve("server b"), server(signA), curve(serverA)}, []string{curveSeed(app)}))
		add("several own keys, the older one is used", stamp.OK, tr([]string{curve(serverA), server(signA)}, []string{curveSeed("app new"), curveSeed(app)}))
		add("another own key", verdictIf(!keyed, stamp.ProofKey), tr([]string{curve(serverA), server(signA)}, []string{curveSeed("app new")}))
		add("the server that signs alone", verdictIf(!keyed, stamp.ProofKey), tr([]string{server(signA)}, []string{curveSeed(app)}))
		add("the server for receivers alone", verdictIf(kind == "receiver" || kind == "encrypted", stamp.ProofKey), tr([]string{curve(serverA)}, []string{curveSeed(app)}))
		add("a server whose id is the same before the right one", stamp.OK, tr([]string{curve(serverAlike), server(signAlike), curve(serverA), server(signA)}, []string{curveSeed(app)}))
		add("a server whose id is the same after the right one", stamp.OK, tr([]string{curve(serverA), server(signA), server(signAlike), curve(serverAlike)}, []string{curveSeed(app)}))
		add("a server whose id is the same alone", stamp.ProofWrong, tr([]string{curve(serverAlike), server(signAlike)}, []string{curveSeed(app)}))
		add("an own key whose id is the same before the right one", stamp.OK, tr([]string{curve(serverA), server(signA)}, []string{curveSeed(appAlike), curveSeed(app)}))
		add("an own key whose id is the same alone", verdictIf(!keyed, stamp.ProofWrong), tr([]string{curve(serverA), server(signA)}, []string{curveSeed(appAlike)}))
		add("all ids are there twice", stamp.OK, tr([]string{curve(serverAlike), curve(serverA), server(signAlike), server(signA)}, []string{curveSeed(appAlike), curveSeed(app)}))
		add("the server's new key", stamp.OK, made(func(in *stamptest.Input) { in.CurveSeed, in.SignSeed = curveSeed("server b"), serverSeed("sign b") }),
			tr([]string{curve(serverA), server(signA), curve("server b"), server("sign b")}, []string{curveSeed(app)}))
		add("a receiver that is its own server", verdictIf(!keyed, stamp.ProofKey), made(func(in *stamptest.Input) { in.CurveSeed = curveSeed(app) }))
	}
	noKeys := trusted(func(t *Trust) { t.Keys = nil })
	hidden := values(map[string][]string{"X-Tenant": {"acme"}, "X-Roles": {"admin", "dev"}})
	for _, kind := range []string{"receiver", "encrypted"} {
		g.add(kind, "no own key", stamp.ProofKey, noKeys)
	}
	g.add("signed", "no own key", stamp.OK, noKeys)
	g.add("both", "no own key: the encrypted values are not read", stamp.OK, noKeys, hidden)
	g.add("both", "no own key, servers for receivers or not", stamp.OK, noKeys, hidden, trusted(func(t *Trust) { t.Servers = []string{server(signA)} }))
	g.add("both", "no own key: a changed tag is signed too", stamp.ProofWrong, noKeys, flipped(entriesAt("both")+12, 1))
	g.add("both", "no own key: a changed encrypted value", stamp.ProofWrong, noKeys, set("Session", encode([]byte("another!"))))
	g.add("both", "no own key: an encrypted value that is no base64", stamp.ProofWrong, noKeys, set("Session", "=?"))
	g.add("both", "no own key: another id of the receiver is signed too", stamp.ProofWrong, noKeys, flipped(receiverAt, 1))
	g.add("both", "no own key: the user is encrypted", stamp.Anonymous, noKeys, made(func(in *stamptest.Input) { in.Encrypt = []string{"X-User"} }))
	g.add("both", "no own key: several encrypted values where one is expected", stamp.FieldTwice, noKeys, made(func(in *stamptest.Input) { in.Encrypt = []string{"X-Roles"} }),
		trusted(func(t *Trust) { t.One, t.Many = []string{"X-Roles"}, nil }))
	g.add("both", "the tag fits and the signature does not", stamp.ProofWrong, flipped(-40, 1))
	g.add("both", "the signature fits and the tag does not", stamp.ProofWrong, made(func(in *stamptest.Input) { in.CurveSeed = curveSeed(serverAlike) }))
	g.add("both", "the tag is of another server, which is trusted too: the identity is of the one that signed", stamp.OK,
		made(func(in *stamptest.Input) { in.CurveSeed = curveSeed("server b") }), trusted(func(t *Trust) { t.Servers = append(t.Servers, curve("server b")) }))
	g.add("both", "the signature is of another server that is trusted", stamp.ProofKey, made(func(in *stamptest.Input) { in.SignSeed = serverSeed("sign b") }))
}

// entries has proofs that no server makes, with a tag or a signature that fits.
func (g *generator) entries() {
	for kind, name := range []string{wire.KindReceiver: "receiver", wire.KindSigned: "signed"} {
		if name == "" {
			continue
		}
		craft := func(case_ string, verdict stamp.Verdict, fields []maker.Field, edits ...edit) {
			g.add(name, "entries: "+case_, verdict, append([]edit{crafted(byte(kind), fields...), values(nil)}, edits...)...)
		}
		with := func(fields ...maker.Field) []maker.Field { return append(provenance(), fields...) }
		craft("the user alone", stamp.OK, with(entry("X-User", "alice")))
		craft("none", stamp.Anonymous, with())
		craft("none, and a user who is not proven", stamp.FieldUncovered, with(), before("X-User", "alice"))
		craft("another order", stamp.ProofMalformed, with(entry("X-User", "alice"), entry("X-Tenant", "acme")))
		craft("one twice", stamp.ProofMalformed, with(entry("X-User", "alice"), entry("X-User", "alice")))
		craft("one twice, with one line", stamp.ProofMalformed, with(entry("X-User", "alice"), entry("X-User")))
		craft("one of provenance", stamp.ProofMalformed, with(entry(wire.Subject, subject), entry("X-User", "alice")), lines(func(l []stamp.Line) []stamp.Line { return slices.Delete(l, 3, 4) }))
		craft("one of the proof itself", stamp.ProofMalformed, with(entry(wire.Proof), entry("X-User", "alice")))
		craft("one of a forwarded proof", stamp.OK, with(entry(wire.ForwardedProof, "x"), entry("X-User", "alice")))
		craft("two headers with the same entry, one of them proven", stamp.FieldTwice, with(entry("X-User", "alice")), added(userAlike, "x"))
		craft("two headers with the same entry, the proven one is not read", stamp.FieldTwice, with(entry("X-Roles", "a"), entry("X-User", "alice")), added(rolesAlike, "x"), trusted(func(t *Trust) { t.One, t.Many = nil, nil }))
		craft("another header has the entry of the user", stamp.ProofWrong, with(entry("X-User", "alice")), renamed("X-User", userAlike))
		craft("a header with the entry of the user is proven, the user is not there", stamp.Anonymous, with(entry(userAlike, "alice")))
		craft("a name with characters that are left out", stamp.OK, with(entry("X-Us er", "alice"), entry("X-Zé", "1")), trusted(func(t *Trust) { t.Many = []string{"X-Z"} }), values(map[string][]string{"X-Z": {"1"}}))
		craft("an empty user", stamp.Anonymous, with(entry("X-User", "")))
		craft("empty values", stamp.OK, with(entry("Session", ""), entry("X-Roles", "", "", "x"), entry("X-User", "alice")), values(map[string][]string{"Session": {""}, "X-Roles": {"", "", "x"}}))
		craft("a user of white space is a user", stamp.OK, with(entry("X-User", " ")), want(func(w *Want) { w.User = " " }))
	}
}

// encrypted has encrypted values.
func (g *generator) encrypted() {
	for _, kind := range []string{"encrypted", "both"} {
		add := func(name string, verdict stamp.Verdict, edits ...edit) {
			g.add(kind, "values: "+name, verdict, edits...)
		}
		all := made(func(in *stamptest.Input) { in.Encrypt = []string{"session", "X_ROLES", "x-tenant", "X-User"} })
		add("all are encrypted", stamp.OK, all)
		add("all are encrypted, and two are swapped", stamp.ProofWrong, all, lines(func(l []stamp.Line) []stamp.Line {
			l[4][1], l[6][1] = l[6][1], l[4][1]
			return l
		}))
		add("swapped values of the same length", stamp.ProofWrong, stamped(stamp.Line{"X-User", "alice"}, stamp.Line{"Session", "12345"}), made(func(in *stamptest.Input) { in.Encrypt = []string{"X-User", "Session"} }), lines(func(l []stamp.Line) []stamp.Line {
			l[3][1], l[4][1] = l[4][1], l[3][1]
			return l
		}))
		add("one changed", stamp.ProofWrong, valued("Session", func(v string) string { return "A" + v[1:] }))
		add("one shorter", stamp.ProofWrong, valued("Session", func(v string) string { return v[:len(v)-4] }))
		add("one longer", stamp.ProofWrong, valued("Session", func(v string) string { return v + "AAAA" }))
		add("one empty", stamp.ProofWrong, set("Session", ""))
		add("one in the clear", stamp.FieldMalformed, set("Session", secret))
		add("one with padding", stamp.FieldMalformed, valued("Session", func(v string) string { return v + "=" }))
		add("one with a line break", stamp.FieldMalformed, valued("Session", func(v string) string { return v[:3] + "\r\n" + v[3:] }))
		add("one of one character", stamp.FieldMalformed, set("Session", "A"))
		add("one that is no base64, and a later entry that is missing", stamp.FieldMalformed, set("Session", "="), removed("X-User"))
		add("one that is no base64, and an earlier entry that is missing", stamp.FieldMissing, all, set("X-User", "="), removed("Session"))
		add("the user is encrypted", stamp.OK, made(func(in *stamptest.Input) { in.Encrypt = []string{"X-User"} }))
		add("an empty user is encrypted", stamp.Anonymous, made(func(in *stamptest.Input) { in.Encrypt, in.Headers[0][1] = []string{"X-User"}, "" }))
		add("a byte order mark", stamp.OK, made(func(in *stamptest.Input) { in.Headers[4][1] = "\ufeffa\ufeff" }), values(map[string][]string{"X-Tenant": {"acme"}, "Session": {"\ufeffa\ufeff"}, "X-Roles": {"admin", "dev"}}))
		add("characters of all lengths, and such as are composed", stamp.OK, made(func(in *stamptest.Input) { in.Headers[4][1] = "a\u0301 é ß ✓ 𝄞 \u0000" }), values(map[string][]string{"X-Tenant": {"acme"}, "Session": {"a\u0301 é ß ✓ 𝄞 \u0000"}, "X-Roles": {"admin", "dev"}}))
		empties := []stamp.Line{{"X-Roles", ""}, {"X-Roles", "a"}, {"X-Roles", ""}, {"X-Roles", "bc"}, {"X-User", "alice"}}
		add("several, and empty ones", stamp.OK, stamped(empties...), made(func(in *stamptest.Input) { in.Encrypt = []string{"X-Roles"} }), values(map[string][]string{"X-Roles": {"", "a", "", "bc"}}))
		add("several, and empty ones in another order", stamp.ProofWrong, stamped(empties...), made(func(in *stamptest.Input) { in.Encrypt = []string{"X-Roles"} }), lines(func(l []stamp.Line) []stamp.Line {
			l[3], l[4] = l[4], l[3]
			return l
		}))
		add("bytes move from one value to the next", stamp.ProofWrong, stamped(stamp.Line{"X-Roles", "abc"}, stamp.Line{"X-Roles", "def"}, stamp.Line{"X-User", "alice"}), made(func(in *stamptest.Input) { in.Encrypt = []string{"X-Roles"} }), lines(func(l []stamp.Line) []stamp.Line {
			a, b := decode(l[3][1]), decode(l[4][1])
			l[3][1], l[4][1] = encode(append(a, b[0])), encode(b[1:])
			return l
		}))
		add("one that is not UTF-8", stamp.FieldMalformed, made(func(in *stamptest.Input) { in.Headers[4][1] = "\xff\xfe" }))
		add("characters that are cut between two values", stamp.FieldMalformed, stamped(stamp.Line{"X-Roles", "\xc3"}, stamp.Line{"X-Roles", "\xa9"}, stamp.Line{"X-User", "alice"}), made(func(in *stamptest.Input) { in.Encrypt = []string{"X-Roles"} }))
	}
	g.add("encrypted", "values: of a header that is not read", stamp.OK, trusted(func(t *Trust) { t.One = []string{"X-Tenant"} }), values(map[string][]string{"X-Tenant": {"acme"}, "X-Roles": {"admin", "dev"}}))
	for i, counter := range []uint32{0, 1, 255, 256, 1 << 31, 1<<32 - 1} {
		g.add(kinds[i%2], fmt.Sprintf("counter %d", counter), stamp.OK, made(func(in *stamptest.Input) { in.Counter = counter }))
	}
}

// readers has names that are hard to keep apart, or that are special somewhere.
func (g *generator) readers() {
	for _, name := range []string{"__proto__", "constructor", "toString", "hasOwnProperty", "length", "None", "null", "0", "!#$%&'*+-.^_`|~", "A"} {
		g.add("receiver", fmt.Sprintf("a header named %s", name), stamp.OK, stamped(stamp.Line{"X-User", "alice"}, stamp.Line{name, "v"}), trusted(func(t *Trust) { t.One, t.Many = []string{name}, nil }), values(map[string][]string{name: {"v"}}))
		g.add("receiver", fmt.Sprintf("a header named %s that is not there", name), stamp.OK, stamped(stamp.Line{"X-User", "alice"}), trusted(func(t *Trust) { t.One, t.Many = []string{name}, nil }), values(nil))
	}
	g.add("signed", "a user named __proto__ in a header named constructor", stamp.OK, stamped(stamp.Line{"constructor", "__proto__"}), trusted(func(t *Trust) { t.User, t.One, t.Many = "constructor", nil, nil }), values(nil), want(func(w *Want) { w.User = "__proto__" }))
	for _, user := range []string{"Grüße ✓ 𝄞", "e\u0301", "\u00e9", "a,b", "a\tb", "\u202ebob", "\u0130", "=?utf-8?q?bob?=", "\"alice\"", "null", strings.Repeat("u", 1000)} {
		for _, kind := range []string{"receiver", "signed"} {
			name := user
			if len(name) > 40 {
				name = name[:40]
			}
			g.add(kind, fmt.Sprintf("a user named %+q", name), stamp.OK, made(func(in *stamptest.Input) { in.Headers[0][1] = user }), want(func(w *Want) { w.User = user }))
		}
	}
	g.add("receiver", "a composed user for a decomposed one", stamp.ProofWrong, made(func(in *stamptest.Input) { in.Headers[0][1] = "e\u0301" }), set("X-User", "\u00e9"))
	g.add("signed", "a user in capitals", stamp.ProofWrong, set("X-User", "ALICE"))
}

// subjects has subjects and the patterns that they fit.
func (g *generator) subjects() {
	for i, tt := range []struct {
		pattern, subject string
		fits             bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "A", false}, {"a", "a.b", false}, {"a.b", "a", false}, {"a.b", "a.b", true},
		{"*", "a", true}, {"*", "a.b", false}, {"*", "", false}, {">", "a", true}, {">", "a.b.c", true}, {">", "", false},
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"a.*", "a.", false}, {"*.b", ".b", false}, {"a.*.c", "a.b.c", true},
		{"a.*.c", "a..c", false}, {"a.>", "a", false}, {"a.>", "a.b", true}, {"a.>", "a.b.c.d", true}, {"a.>", "a.", false}, {"a.>", "ab.c", false},
		{">", "a.", false}, {">", ".a", false}, {">", "a..b", false}, {"*.*", "a.b", true}, {"*.>", "a", false}, {"*.>", "a.b.c", true},
		{"a.b", "a.*", false}, {"a.*", "a.*", true}, {"a.*", "a.>", true}, {"a.>", "a.>", true}, {"a.b", "a.>", false}, {"a.b", ">", false},
		{"*", "a*", true}, {"a.*", "a.b>", true}, {"a.>", "a.**", true}, {"a.b", "a.b>", false}, {"ü.*", "ü.✓", true}, {"$SYS.>", "$SYS.A", true},
		// No white space in Unicode, though some languages take them for it.
		{"a\u180eb", "a\u180eb", true}, {"a\u200bb", "a\u200bb", true}, {"a\ufeffb", "a\ufeffb", true},
	} {
		verdict := stamp.WrongSubject
		if tt.fits {
			verdict = stamp.OK
		}
		g.add(kinds[i%len(kinds)], fmt.Sprintf("subject %q for %q", tt.subject, tt.pattern), verdict, made(func(in *stamptest.Input) { in.Subject = tt.subject }),
			trusted(func(t *Trust) { t.Accounts = map[string][]string{account: {tt.pattern}} }), want(func(w *Want) { w.Subject = tt.subject }))
	}
	accounts := func(name, of string, verdict stamp.Verdict, a map[string][]string) {
		g.add("receiver", "accounts: "+name, verdict, made(func(in *stamptest.Input) { in.Account = of }), trusted(func(t *Trust) { t.Accounts = a }), want(func(w *Want) { w.Account = of }))
	}
	accounts("any", account, stamp.OK, map[string][]string{"*": {"orders.*"}})
	accounts("any is for those that are not named", account, stamp.WrongSubject, map[string][]string{account: {"admin"}, "*": {">"}})
	accounts("one of several", account, stamp.OK, map[string][]string{"A": {"a"}, account: {"orders.>"}})
	accounts("the subject of another account", account, stamp.WrongSubject, map[string][]string{"A": {"orders.>"}, account: {"a"}})
	accounts("one of several subjects", account, stamp.OK, map[string][]string{account: {"a", "b.>", "orders.new"}})
	accounts("in capitals", "app", stamp.WrongAccount, map[string][]string{account: {">"}})
	accounts("a pattern is a name", account, stamp.WrongAccount, map[string][]string{"AP*": {">"}, ">": {">"}})
	accounts("an account named *", "*", stamp.OK, map[string][]string{"*": {">"}})
	accounts("an empty account", "", stamp.WrongAccount, map[string][]string{account: {">"}})
	accounts("an empty account is one of any", "", stamp.OK, map[string][]string{"*": {">"}})
	accounts("an account named __proto__", "__proto__", stamp.WrongAccount, map[string][]string{account: {">"}})
	accounts("an account named constructor", "constructor", stamp.WrongAccount, map[string][]string{account: {">"}})
	accounts("white space after it", account+" ", stamp.WrongAccount, map[string][]string{account: {">"}})
	accounts("a public key", "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA", stamp.OK, map[string][]string{"ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA": {"orders.new"}})
}

// signedVerdict is what a receiver says where it wants a signature.
func signedVerdict(kind string) stamp.Verdict {
	if kind == "signed" || kind == "both" {
		return stamp.OK
	}
	return stamp.Unsigned
}

// signed has subjects on which a receiver wants a signature.
func (g *generator) signed() {
	for _, kind := range kinds {
		add := func(name string, verdict stamp.Verdict, subjects []string, edits ...edit) {
			g.add(kind, "signature wanted: "+name, verdict, append([]edit{trusted(func(t *Trust) { t.Signed = subjects })}, edits...)...)
		}
		add("on this subject", signedVerdict(kind), []string{subject})
		add("on all subjects", signedVerdict(kind), []string{">"})
		add("on one of several", signedVerdict(kind), []string{"a", "orders.*"})
		add("on another subject", stamp.OK, []string{"orders.old", "orders", "admin.>", "orders.new.>"})
		add("on the subject in capitals", stamp.OK, []string{"orders.New"})
		add("the list is empty", stamp.OK, []string{})
		add("the subject is not trusted", stamp.WrongSubject, []string{">"}, trusted(func(t *Trust) { t.Accounts = map[string][]string{account: {"admin"}} }))
		add("the payload was changed", stamp.ProofWrong, []string{">"}, carrying(nil))
		late, noTime := stamp.Old, stamp.TimeMalformed
		if signedVerdict(kind) == stamp.Unsigned {
			late, noTime = stamp.Unsigned, stamp.Unsigned
		}
		add("the message is old", late, []string{">"}, trusted(func(t *Trust) { t.MaxAge = 5 }))
		add("the time is none", noTime, []string{">"}, made(func(in *stamptest.Input) { in.Time = "now" }))
	}
	g.add("both", "signature wanted: no own key", stamp.OK, trusted(func(t *Trust) { t.Keys, t.Signed = nil, []string{">"} }),
		values(map[string][]string{"X-Tenant": {"acme"}, "X-Roles": {"admin", "dev"}}))
	g.add("receiver", "signature wanted: by whoever holds the seed of the receiver, as the server", stamp.ProofKey,
		trusted(func(t *Trust) { t.Signed = []string{">"} }), made(func(in *stamptest.Input) { in.CurveSeed = curveSeed(app) }))
}

// arrived says on which subject the message arrived.
func arrived(subject string) edit { return func(d *draft) { d.Arrived = subject } }

// handledOn says on which subjects messages for the handler are published.
func handledOn(subjects ...string) edit { return func(d *draft) { d.Subjects = subjects } }

// handlers has handlers of one subject or of several, and messages that were published on others.
func (g *generator) handlers() {
	for _, kind := range kinds {
		add := func(name string, verdict stamp.Verdict, edits ...edit) {
			g.add(kind, "a handler: "+name, verdict, edits...)
		}
		add("of the subject", stamp.OK, arrived(subject))
		for _, other := range []string{"orders.delete", "orders", "orders.new.x", "orders.New", "orders.*", "orders.>", "*.new", ">", "orders.new "} {
			add(fmt.Sprintf("of %q", other), stamp.Misdirected, arrived(other))
		}
		add("of a subject with a wildcard, on which the message was published", stamp.OK, arrived("orders.*"),
			made(func(in *stamptest.Input) { in.Subject = "orders.*" }), want(func(w *Want) { w.Subject = "orders.*" }))
		add("that says its subject", stamp.OK, arrived("svc.new"), handledOn(subject))
		add("that says its subject, where nobody knows on which the message arrived", stamp.OK, handledOn(subject))
		add("that says subjects", stamp.OK, arrived("svc.new"), handledOn("a", "orders.*"))
		add("that says all subjects", stamp.OK, arrived("svc.new"), handledOn(">"))
		add("that says another subject", stamp.Misdirected, arrived(subject), handledOn("orders.delete"))
		add("that says other subjects", stamp.Misdirected, handledOn("orders.new.>", "*"))
		add("that says more than is trusted", stamp.WrongSubject, handledOn(">"), made(func(in *stamptest.Input) { in.Subject = "admin.delete" }))
		add("of another subject, which is not trusted", stamp.WrongSubject, arrived("orders.new"), made(func(in *stamptest.Input) { in.Subject = "admin.delete" }))
		add("of another subject, and another account", stamp.WrongAccount, arrived("orders.delete"), made(func(in *stamptest.Input) { in.Account = "OTHER" }))
		add("of another subject, and the payload was changed", stamp.ProofWrong, arrived("orders.delete"), carrying(nil))
		add("of another subject, and a signature is wanted", stamp.Misdirected, arrived("orders.delete"), trusted(func(t *Trust) { t.Signed = []string{">"} }))
		add("of a signed subject, and the message says another", stamp.Misdirected, arrived("orders.pay"), trusted(func(t *Trust) { t.Signed = []string{"orders.pay"} }))
		add("of another subject, and the message is old", stamp.Misdirected, arrived("orders.delete"), trusted(func(t *Trust) { t.MaxAge = 5 }))
		before := func(on string) edit {
			return func(d *draft) {
				d.make()
				d.Before = []Message{{on, d.Headers, d.Payload}}
			}
		}
		replays := trusted(func(t *Trust) { t.Replays = 2 })
		add("of another subject got it before", stamp.OK, arrived(subject), replays, before("orders.delete"))
		add("of the subject got it before", stamp.Replayed, arrived(subject), replays, before(subject))
		add("that says its subject got it before", stamp.Replayed, handledOn("orders.*"), replays, before("svc.new"))
	}
}

// times has times at limits, and such as are none.
func (g *generator) times() {
	n := 0
	add := func(time string, verdict stamp.Verdict, edits ...edit) *Case {
		n++
		edits = append([]edit{made(func(in *stamptest.Input) { in.Time = time }), want(func(w *Want) { w.Time = time })}, edits...)
		return g.add(kinds[n%len(kinds)], fmt.Sprintf("time %d %q", n, time), verdict, edits...)
	}
	for _, good := range []string{
		"2024-02-29T23:59:59.999999999Z", "2000-02-29T00:00:00.000000000Z", "0001-01-01T00:00:00.000000000Z", "9999-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z",
		"1970-01-01T00:00:00.000000001Z", "0099-06-15T01:02:03.000000004Z", "1582-10-10T00:00:00.000000000Z", "2400-02-29T00:00:00.000000000Z",
	} {
		add(good, stamp.OK)
	}
	for _, bad := range []string{
		"2023-02-29T00:00:00.000000000Z", "1900-02-29T00:00:00.000000000Z", "2026-02-30T00:00:00.000000000Z", "2026-04-31T00:00:00.000000000Z", "2026-00-01T00:00:00.000000000Z",
		"2026-13-01T00:00:00.000000000Z", "2026-01-00T00:00:00.000000000Z", "2026-01-32T00:00:00.000000000Z", "2026-01-01T24:00:00.000000000Z", "2026-01-01T00:60:00.000000000Z",
		"2016-12-31T23:59:60.000000000Z", "0000-01-01T00:00:00.000000000Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.123Z", "2026-03-01T12:00:00.1234567890Z", "2026-03-01T12:00:00.12345678Z",
		"2026-03-01T12:00:00.123456789z", "2026-03-01t12:00:00.123456789Z", "2026-03-01 12:00:00.123456789Z", "2026-03-01T12:00:00,123456789Z", "2026-03-01T12:00:00.123456789", "2026-03-01T12:00:00.123456789+00:00",
		"2026-03-01T12:00:00.12345678+1", "2026-3-01T12:00:00.0123456789Z", "+026-03-01T12:00:00.123456789Z", "-026-03-01T12:00:00.123456789Z", " 026-03-01T12:00:00.123456789Z", "2026-03-01T12:00:00.123456789Z ", " 2026-03-01T12:00:00.123456789Z",
		"２０２６-03-01T12:00:00.123456789Z", "2026-03-01T12:00:0٣.12345678Z", "12026-03-01T12:00:00.123456789Z", "2026-03-01T12:00:00.-23456789Z", "2026-03-01T12:00:00.+23456789Z", "2026-03-01T-1:00:00.123456789Z", "2026-03-01T 1:00:00.123456789Z", "2026/03/01T12:00:00.123456789Z", "", "now",
	} {
		add(bad, stamp.TimeMalformed)
	}
	limit := func(time, now string, age, skew int, verdict stamp.Verdict) {
		add(time, verdict, judged(now), trusted(func(t *Trust) { t.MaxAge, t.MaxSkew = age, skew }))
	}
	limit("2026-03-01T12:00:00.000000000Z", "2026-03-01T12:01:00Z", 60, 0, stamp.OK)
	limit("2026-03-01T12:00:00.000000000Z", "2026-03-01T12:01:00.000000001Z", 60, 0, stamp.Old)
	limit("2026-03-01T11:59:59.999999999Z", "2026-03-01T12:01:00Z", 60, 0, stamp.Old)
	limit("2026-03-01T12:00:05.000000000Z", "2026-03-01T12:00:00Z", 60, 0, stamp.OK)
	limit("2026-03-01T12:00:05.000000001Z", "2026-03-01T12:00:00Z", 60, 0, stamp.Future)
	limit("2026-03-01T12:00:01.000000000Z", "2026-03-01T12:00:00Z", 60, 1, stamp.OK)
	limit("2026-03-01T12:00:01.000000001Z", "2026-03-01T12:00:00Z", 60, 1, stamp.Future)
	limit("2026-03-01T12:01:00.000000000Z", "2026-03-01T12:00:00Z", 1, 60, stamp.OK)
	limit("2026-03-01T12:00:00.999999999Z", "2026-03-01T12:00:02Z", 1, 60, stamp.Old)
	limit("2024-02-29T12:00:00.000000000Z", "2024-03-01T12:00:00Z", 86400, 0, stamp.OK)
	limit("2024-02-28T12:00:00.000000000Z", "2024-03-01T12:00:00Z", 86400, 0, stamp.Old)
	limit("2023-02-28T12:00:00.000000000Z", "2023-03-01T12:00:00Z", 86400, 0, stamp.OK)
	limit("1969-12-31T23:59:59.500000000Z", "1970-01-01T00:00:00Z", 1, 0, stamp.OK)
	limit("0001-01-01T00:00:00.000000000Z", "2026-03-01T12:00:00Z", 60, 0, stamp.Old)
	limit("9999-12-31T23:59:59.999999999Z", "2026-03-01T12:00:00Z", 60, 0, stamp.Future)
	limit("2026-03-01T12:00:00.000000000Z", "2036-03-01T12:00:00Z", 0, 0, stamp.OK)
	limit("2036-03-01T12:00:00.000000000Z", "2026-03-01T12:00:00Z", 0, 0, stamp.OK)
	limit("never", "2026-03-01T12:00:00Z", 60, 0, stamp.TimeMalformed)
}

// unproven has messages that need no proof.
func (g *generator) unproven() {
	add := func(name string, verdict stamp.Verdict, l []stamp.Line, edits ...edit) {
		edits = append([]edit{
			only(l...), trusted(func(t *Trust) { t.Accounts, t.Servers, t.Keys = nil, nil, nil }), values(nil),
			want(func(w *Want) { w.Account, w.Subject, w.Time, w.Proven = "", "", "", false }),
		}, edits...)
		g.add("unproven", name, verdict, edits...)
	}
	alice := stamp.Line{"X-User", "alice"}
	add("the user", stamp.OK, []stamp.Line{alice})
	add("the user and others", stamp.OK, []stamp.Line{{"Other", "1"}, alice, {"X-Roles", "a"}, {"X-Tenant", "acme"}, {"X-Roles", "b"}, {"other", "2"}}, values(map[string][]string{"X-Roles": {"a", "b"}, "X-Tenant": {"acme"}}))
	add("no headers", stamp.Anonymous, []stamp.Line{})
	add("no user", stamp.Anonymous, []stamp.Line{{"X-Roles", "a"}})
	add("an empty user", stamp.Anonymous, []stamp.Line{{"X-User", ""}})
	add("an empty user, and a header that is there twice", stamp.Anonymous, []stamp.Line{{"X-User", ""}, {"Session", "1"}, {"Session", "1"}})
	add("two users", stamp.FieldTwice, []stamp.Line{alice, {"X-User", "bob"}})
	add("the same user twice", stamp.FieldTwice, []stamp.Line{alice, alice})
	add("an empty user and a user", stamp.FieldTwice, []stamp.Line{{"X-User", ""}, alice})
	for _, alias := range []string{"x-user", "X_User", "X.User", "X-USER", "X-User ", "X-\u00a0User", "\x00X-User", "X- User", "X-User(", "X\"-User"} {
		add(fmt.Sprintf("the user spelled %+q", alias), stamp.FieldTwice, []stamp.Line{{alias, "alice"}})
		add(fmt.Sprintf("the user, and one spelled %+q", alias), stamp.FieldTwice, []stamp.Line{alice, {alias, "alice"}})
		add(fmt.Sprintf("one spelled %+q, and the user", alias), stamp.FieldTwice, []stamp.Line{{alias, "alice"}, alice})
	}
	add("names that are not aliases", stamp.OK, []stamp.Line{alice, {"X-User2", "b"}, {"XUser", "b"}, {"X--User", "b"}, {"X~User", "b"}, {"Х-User", "b"}, {"X-Uſer", "b"}, {"X−User", "b"}})
	add("the kelvin sign is no k", stamp.OK, []stamp.Line{alice, {"X-To\u212aen", "b"}}, trusted(func(t *Trust) { t.One = []string{"X-Token"} }))
	add("another spelling of one", stamp.FieldTwice, []stamp.Line{alice, {"x-tenant", "b"}})
	add("two of one", stamp.FieldTwice, []stamp.Line{alice, {"X-Tenant", "b"}, {"X-Tenant", "b"}})
	add("two spellings of many", stamp.FieldTwice, []stamp.Line{alice, {"X-Roles", "b"}, {"X_Roles", "b"}})
	add("an empty value of one", stamp.OK, []stamp.Line{alice, {"X-Tenant", ""}}, values(map[string][]string{"X-Tenant": {""}}))
	add("empty values of many", stamp.OK, []stamp.Line{alice, {"X-Roles", ""}, {"X-Roles", ""}}, values(map[string][]string{"X-Roles": {"", ""}}))
	add("a proof is not looked at", stamp.OK, []stamp.Line{alice, {wire.Proof, "x"}, {"stamp_proof", "y"}})
	add("two spellings of a header that is not read", stamp.OK, []stamp.Line{alice, {"Other", "b"}, {"other", "b"}})
	add("provenance is not looked at", stamp.OK, []stamp.Line{alice, {wire.Time, "x"}, {"stamp-time", "y"}})
	add("values are as they are", stamp.OK, []stamp.Line{{"X-User", " alice\t"}}, want(func(w *Want) { w.User = " alice\t" }))

	stampedBy := []stamp.Line{alice, {wire.Account, account}, {wire.Subject, subject}, {wire.Time, at}}
	accounts := trusted(func(t *Trust) { t.Accounts = trust().Accounts })
	published := want(func(w *Want) { w.Account, w.Subject, w.Time = account, subject, at })
	with := func(f func([]stamp.Line) []stamp.Line) []stamp.Line { return f(slices.Clone(stampedBy)) }
	add("provenance", stamp.OK, stampedBy, accounts, published)
	add("provenance in another order", stamp.OK, with(func(l []stamp.Line) []stamp.Line { slices.Reverse(l); return l }), accounts, published)
	for i, name := range wire.Provenance {
		add("without "+name, stamp.FieldMissing, with(func(l []stamp.Line) []stamp.Line { return slices.Delete(l, i+1, i+2) }), accounts)
		add("two lines "+name, stamp.FieldTwice, with(func(l []stamp.Line) []stamp.Line { return append(l, l[i+1]) }), accounts)
		add(name+" in small letters", stamp.FieldTwice, with(func(l []stamp.Line) []stamp.Line { l[i+1][0] = strings.ToLower(name); return l }), accounts)
		add("an alias of "+name, stamp.FieldTwice, with(func(l []stamp.Line) []stamp.Line {
			return append(l, stamp.Line{strings.ReplaceAll(name, "-", "."), l[i+1][1]})
		}), accounts)
	}
	add("provenance without a user", stamp.Anonymous, stampedBy[1:], accounts)
	add("two users, without provenance", stamp.FieldTwice, []stamp.Line{alice, alice}, accounts)
	add("another account, and another time", stamp.WrongAccount, with(func(l []stamp.Line) []stamp.Line { l[1][1], l[3][1] = "OTHER", "x"; return l }), accounts)
	add("another subject, and another time", stamp.WrongSubject, with(func(l []stamp.Line) []stamp.Line { l[2][1], l[3][1] = "other", "x"; return l }), accounts)
	add("a handler of the subject", stamp.OK, stampedBy, accounts, published, arrived(subject))
	add("a handler of another subject", stamp.Misdirected, stampedBy, accounts, arrived("orders.delete"))
	add("a handler that says another subject", stamp.Misdirected, stampedBy, accounts, arrived(subject), handledOn("orders.delete"))
	add("a handler that says its subject", stamp.OK, stampedBy, accounts, published, arrived("svc.new"), handledOn("orders.*"))
	add("a handler of another subject, and no subject is looked at", stamp.OK, stampedBy, arrived("orders.delete"))
	add("no time", stamp.TimeMalformed, with(func(l []stamp.Line) []stamp.Line { l[3][1] = "x"; return l }), accounts)
	add("too old", stamp.Old, stampedBy, accounts, trusted(func(t *Trust) { t.MaxAge = 10 }), judged("2026-03-01T12:00:10.123456790Z"))
	add("old enough", stamp.OK, stampedBy, accounts, published, trusted(func(t *Trust) { t.MaxAge = 10 }), judged("2026-03-01T12:00:10.123456789Z"))
	add("in the future", stamp.Future, stampedBy, accounts, trusted(func(t *Trust) { t.MaxAge, t.MaxSkew = 10, 1 }), judged("2026-03-01T11:59:59.123456788Z"))
}

// replays has messages that came before.
func (g *generator) replays() {
	for _, kind := range kinds {
		message := func(counter uint32, edits ...func(*stamptest.Input)) Message {
			in := input(kind)
			in.Counter = counter
			in.Time = fmt.Sprintf("2026-03-01T12:00:00.%09dZ", counter) // signed proofs have no counter
			for _, e := range edits {
				e(&in)
			}
			l, err := stamptest.Make(in)
			if err != nil {
				panic(err)
			}
			return Message{Headers: l, Payload: in.Payload}
		}
		add := func(name string, verdict stamp.Verdict, size int, change edit, before ...Message) {
			m := message(1)
			edits := []edit{func(d *draft) {
				d.made, d.Headers, d.Payload, d.Before = true, m.Headers, m.Payload, before
				d.Trust.Replays, d.Want.Time = size, "2026-03-01T12:00:00.000000001Z"
			}}
			if change != nil {
				edits = append(edits, change)
			}
			g.add(kind, "replays: "+name, verdict, edits...)
		}
		add("the first", stamp.OK, 2, nil)
		add("the second", stamp.Replayed, 2, nil, message(1))
		add("others came before", stamp.OK, 2, nil, message(2), message(3))
		add("the one before the last", stamp.Replayed, 2, nil, message(1), message(2))
		add("forgotten", stamp.OK, 2, nil, message(1), message(2), message(3))
		add("refused again, which does not keep it", stamp.OK, 2, nil, message(1), message(2), message(1), message(3))
		add("not remembered", stamp.OK, 0, nil, message(1))
		bad := message(1)
		bad.Payload = []byte("x")
		add("what was refused is not remembered", stamp.OK, 2, nil, bad)
		add("what is refused now has that verdict", stamp.ProofWrong, 2, carrying([]byte("x")), message(1))
		add("other headers and another order do not matter", stamp.Replayed, 2, lines(func(l []stamp.Line) []stamp.Line {
			return append([]stamp.Line{l[len(l)-1], {"Other", "1"}}, l[:len(l)-1]...)
		}), message(1))
	}
}

// forwarded has forwarded proofs.
func (g *generator) forwarded() {
	for _, kind := range kinds {
		digests := map[string]int{"receiver": wire.TagSize, "encrypted": wire.TagSize, "signed": wire.DigestSize, "both": wire.TagSize + wire.DigestSize}[kind]
		forward := func(d *draft) {
			d.make()
			d.Headers = []stamp.Line{{wire.ForwardedProof, forwardOf(d.Name, trust(), d.Headers, d.Payload)}}
			d.Payload, d.Forwarded = []byte("another payload"), true
		}
		add := func(name string, verdict stamp.Verdict, edits ...edit) {
			g.add(kind, "forwarded: "+name, verdict, append([]edit{forward}, edits...)...)
		}
		value := func(f func([]byte) []byte) edit {
			return valued(wire.ForwardedProof, func(v string) string { return encode(f(decode(v))) })
		}
		proofLen := func(b []byte) int { return int(binary.BigEndian.Uint16(b[1:])) }
		fieldsAt := func(b []byte) int { return 3 + proofLen(b) + digests }
		// text replaces F_text by the encoding of the changed fields.
		text := func(f func([]wire.Field) []wire.Field) edit {
			return value(func(b []byte) []byte {
				fields, ok := wire.ParseFields(string(b[fieldsAt(b):]))
				if !ok {
					panic("no fields")
				}
				b = b[:fieldsAt(b):fieldsAt(b)]
				for _, field := range f(fields) {
					b = wire.AppendField(b, field.Name, field.Values)
				}
				return b
			})
		}
		add("valid", stamp.OK)
		add("beside another user, who is not looked at", stamp.OK, added("X-User", "bob"), added(wire.Subject, "x"), added(wire.Proof, "x"))
		add("the proof is no longer one of this message", stamp.OK, carrying(nil))
		add("none", stamp.Anonymous, removed(wire.ForwardedProof))
		add("two", stamp.ProofMalformed, doubled(wire.ForwardedProof))
		add("another spelling beside it", stamp.ProofMalformed, added("stamp_forwarded_proof", "x"))
		add("in small letters", stamp.ProofMalformed, renamed(wire.ForwardedProof, "stamp-forwarded-proof"))
		add("empty", stamp.ProofMalformed, set(wire.ForwardedProof, ""))
		add("with padding", stamp.ProofMalformed, valued(wire.ForwardedProof, func(v string) string { return v + "=" }))
		add("the first byte alone", stamp.ProofMalformed, set(wire.ForwardedProof, encode([]byte{1})))
		add("no proof in it", stamp.ProofMalformed, set(wire.ForwardedProof, encode([]byte{1, 0, 0})))
		add("another version", stamp.ProofVersion, value(func(b []byte) []byte { b[0] = 2; return b }))
		add("version 0 alone", stamp.ProofVersion, set(wire.ForwardedProof, encode([]byte{0})))
		add("a proof of another version", stamp.ProofVersion, value(func(b []byte) []byte { b[3] = 4; return b }))
		add("a proof that is longer than the value", stamp.ProofMalformed, value(func(b []byte) []byte { b[1] = 255; return b }))
		add("a proof that is shorter by one", stamp.ProofMalformed, value(func(b []byte) []byte { b[2]--; return b }))
		add("cut after the proof", stamp.ProofMalformed, value(func(b []byte) []byte { return b[:3+proofLen(b)] }))
		add("cut after the digests", stamp.FieldMissing, value(func(b []byte) []byte { return b[:fieldsAt(b)] }))
		add("cut by one", stamp.ProofMalformed, value(func(b []byte) []byte { return b[:len(b)-1] }))
		add("longer by one", stamp.ProofMalformed, value(func(b []byte) []byte { return append(b, 0) }))
		add("a field without values", stamp.ProofMalformed, value(func(b []byte) []byte { return append(b, 0, 1, 'x', 0, 0) }))
		add("a length of 2^31", stamp.ProofMalformed, value(func(b []byte) []byte { return append(b, 0, 1, 'x', 0, 1, 0x80, 0, 0, 0) }))
		add("a length of 2^32-1", stamp.ProofMalformed, value(func(b []byte) []byte { return append(b, 0, 1, 'x', 0, 1, 255, 255, 255, 255) }))
		add("65535 values that are not there", stamp.ProofMalformed, value(func(b []byte) []byte { return append(b, 0, 1, 'x', 255, 255) }))
		add("a value that is not UTF-8", stamp.ProofMalformed, value(func(b []byte) []byte { return append(b, 0, 1, 'x', 0, 1, 0, 0, 0, 1, 0xff) }))
		add("a name that is not UTF-8", stamp.ProofMalformed, value(func(b []byte) []byte { return append(b, 0, 1, 0xff, 0, 1, 0, 0, 0, 0) }))
		add("a character that is cut between name and values", stamp.ProofMalformed, value(func(b []byte) []byte { return append(b, 0, 2, 'x', 0xc3, 0, 1, 0, 0, 0, 0) }))
		add("one field more", stamp.ProofMalformed, text(func(f []wire.Field) []wire.Field { return append(f, wire.Field{Name: "Z", Values: []string{""}}) }))
		add("one field more without a name", stamp.ProofMalformed, text(func(f []wire.Field) []wire.Field { return append(f, wire.Field{Values: []string{""}}) }))
		add("another order", stamp.ProofMalformed, text(func(f []wire.Field) []wire.Field { f[3], f[4] = f[4], f[3]; return f }))
		add("a header in two fields", stamp.ProofMalformed, text(func(f []wire.Field) []wire.Field {
			roles := slices.IndexFunc(f, func(f wire.Field) bool { return f.Name == "X-Roles" })
			second := wire.Field{Name: "X-Roles", Values: f[roles].Values[1:]}
			f[roles].Values = f[roles].Values[:1]
			return slices.Insert(f, roles+1, second)
		}))
		add("without the user", stamp.FieldMissing, text(func(f []wire.Field) []wire.Field { return f[:len(f)-1] }))
		add("another user", stamp.ProofWrong, text(func(f []wire.Field) []wire.Field { f[len(f)-1].Values[0] = "bob"; return f }))
		add("two users", stamp.ProofWrong, text(func(f []wire.Field) []wire.Field {
			f[len(f)-1].Values = append(f[len(f)-1].Values, "bob")
			return f
		}))
		add("another spelling of the user", stamp.ProofWrong, text(func(f []wire.Field) []wire.Field { f[len(f)-1].Name = "x_user"; return f }))
		add("an alias of the user", stamp.FieldTwice, text(func(f []wire.Field) []wire.Field {
			return append(f, wire.Field{Name: "x_user", Values: []string{"bob"}})
		}))
		add("another subject", stamp.ProofWrong, text(func(f []wire.Field) []wire.Field { f[1].Values[0] = "orders.old"; return f }))
		add("two subjects", stamp.FieldTwice, text(func(f []wire.Field) []wire.Field { return slices.Insert(f, 1, f[1]) }))
		add("a header of the proof among the fields", stamp.ProofMalformed, text(func(f []wire.Field) []wire.Field {
			return append(f, wire.Field{Name: wire.Proof, Values: []string{"x"}})
		}))
		add("another digest", stamp.ProofWrong, value(func(b []byte) []byte { b[fieldsAt(b)-1] ^= 1; return b }))
		add("another digest at its beginning", stamp.ProofWrong, value(func(b []byte) []byte { b[3+proofLen(b)] ^= 1; return b }))
		add("another byte at the end of the proof", stamp.ProofWrong, value(func(b []byte) []byte { b[2+proofLen(b)] ^= 1; return b }))
		add("other servers", stamp.ProofKey, trusted(func(t *Trust) { t.Servers = []string{curve("server b"), server("sign b")} }))
		add("no proofs are wanted", stamp.ProofKey, trusted(func(t *Trust) { t.Servers, t.Keys, t.Accounts = nil, nil, nil }))
		add("another account", stamp.WrongAccount, trusted(func(t *Trust) { t.Accounts = map[string][]string{"OTHER": {">"}} }))
		add("a header that is read is not there", stamp.OK, trusted(func(t *Trust) { t.One = append(t.One, "X-Extra") }), added("X-Extra", "1"))
		add("too old", stamp.Old, trusted(func(t *Trust) { t.MaxAge = 5 }))
		add("a byte too much, and another server", stamp.ProofKey, value(func(b []byte) []byte { return append(b, 0) }), trusted(func(t *Trust) { t.Servers = []string{curve("server b"), server("sign b")} }))
		add("a byte too much, and no servers", stamp.ProofKey, value(func(b []byte) []byte { return append(b, 0) }), trusted(func(t *Trust) { t.Servers, t.Keys = nil, nil }))
		add("the handler is of another subject", stamp.OK, arrived("stock.take"))
		add("on a subject that the handler says", stamp.OK, arrived("stock.take"), handledOn("orders.*"))
		add("on another subject than the handler says", stamp.Misdirected, arrived(subject), handledOn("stock.take"))
		add("a signature is wanted", signedVerdict(kind), trusted(func(t *Trust) { t.Signed = []string{"orders.*"} }))
		add("a signature is wanted on another subject", stamp.OK, trusted(func(t *Trust) { t.Signed = []string{"admin"} }))
		twice := trusted(func(t *Trust) { t.Replays = 10 })
		add("replays are not looked at", stamp.OK, twice, func(d *draft) {
			in := input(kind)
			l, err := stamptest.Make(in)
			if err != nil {
				panic(err)
			}
			d.Before = []Message{{Headers: l, Payload: in.Payload}}
		})
		add("the header of a message", stamp.Anonymous, func(d *draft) { d.Forwarded = false })
	}
	g.add("both", "forwarded: no own key", stamp.OK, func(d *draft) {
		d.make()
		d.Headers = []stamp.Line{{wire.ForwardedProof, forwardOf(d.Name, trust(), d.Headers, d.Payload)}}
		d.Forwarded, d.Trust.Keys = true, nil
	}, values(map[string][]string{"X-Tenant": {"acme"}, "X-Roles": {"admin", "dev"}}))
}

// forwardOf returns the forwarded proof of a message.
func forwardOf(name string, t Trust, lines []stamp.Line, payload []byte) string {
	compiled, err := t.Compile(Now)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	value, err := stamp.Forward(stamp.Message{Header: stamp.Lines(lines), Payload: payload}, compiled)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	return value
}

// large has messages with much of everything.
func (g *generator) large() {
	for _, kind := range kinds {
		long := strings.Repeat("long ✓ ", 600)
		g.add(kind, "large: a long value", stamp.OK, made(func(in *stamptest.Input) { in.Headers[4][1] = long }), values(map[string][]string{"X-Tenant": {"acme"}, "Session": {long}, "X-Roles": {"admin", "dev"}}))
		roles := make([]string, 300)
		l := []stamp.Line{{"X-User", "alice"}}
		for i := range roles {
			roles[i] = fmt.Sprint(i)
			l = append(l, stamp.Line{"X-Roles", roles[i]})
		}
		g.add(kind, "large: 300 values", stamp.OK, stamped(l...), made(func(in *stamptest.Input) { in.Encrypt = append(in.Encrypt, "X-Roles") }).unless(kind == "receiver" || kind == "signed"), values(map[string][]string{"X-Roles": roles}))
		l = []stamp.Line{{"X-User", "alice"}}
		for i := range 100 {
			l = append(l, stamp.Line{fmt.Sprintf("%c-%d", 'z'-i%26, i), fmt.Sprint(i)})
		}
		g.add(kind, "large: 101 names", stamp.OK, stamped(append(l, stamp.Line{"Session", secret})...), values(map[string][]string{"Session": {secret}}))
		g.add(kind, "large: 500 other headers", stamp.OK, lines(func(l []stamp.Line) []stamp.Line {
			for i := range 500 {
				l = append(l, stamp.Line{fmt.Sprintf("Other-%d", i), "x"})
			}
			return l
		}))
		g.add(kind, "large: payload of 40000 bytes", stamp.OK, made(func(in *stamptest.Input) { in.Payload = []byte(strings.Repeat("stamp", 8000)) }))
	}
	name := "X-" + strings.Repeat("n", 1<<16)
	g.add("receiver", "large: a name that the encoding has no room for", stamp.FieldMalformed, crafted(1, append(provenance(), entry(name, ""), entry("X-User", "alice"))...))
	g.add("receiver", "large: as many names as a proof has room for", stamp.OK, func(d *draft) {
		names := []stamp.Line{{"X-User", "alice"}}
		for i := 1; i < (wire.MaxProof-41)/3; i++ {
			names = append(names, stamp.Line{fmt.Sprintf("n%d", i), ""})
		}
		d.in.Headers = names
	}, values(nil))
}

func (e edit) unless(no bool) edit {
	if no {
		return func(*draft) {}
	}
	return e
}

// hostile has blocks of headers that fuzzing found, beside those of valid messages and alone.
func (g *generator) hostile() {
	for i, block := range hostileBlocks() {
		kind := kinds[i%len(kinds)]
		stampedBy := []stamp.Line{{"Session", "alice"}, {"A", "1"}, {"X-Auth-User", secret}}
		reads := trusted(func(t *Trust) { t.User, t.One, t.Many = "Session", []string{"X-Auth-User"}, []string{"0"} })
		encrypted := made(func(in *stamptest.Input) { in.Encrypt = []string{"X-Auth-User"} }).unless(kind == "receiver" || kind == "signed")
		verdict := worst(block)
		g.add(kind, fmt.Sprintf("hostile %d, after a valid message", i), verdict, reads, stamped(stampedBy...), encrypted,
			lines(func(l []stamp.Line) []stamp.Line { return append(l, block...) }), values(map[string][]string{"X-Auth-User": {secret}}))
		g.add(kind, fmt.Sprintf("hostile %d, before a valid message", i), verdict, reads, stamped(stampedBy...), encrypted,
			lines(func(l []stamp.Line) []stamp.Line { return append(slices.Clone(block), l...) }), values(map[string][]string{"X-Auth-User": {secret}}))
		g.add("unproven", fmt.Sprintf("hostile %d, alone", i), stamp.Anonymous, func(d *draft) {
			d.Trust = Trust{User: "X-User"}
			d.made, d.Headers, d.Payload = true, block, nil
		})
	}
}

// worst is what a receiver says of lines beside those of a message that has the fields a, session and x-auth-user, each once.
// It folds by its own rules.
func worst(block []stamp.Line) stamp.Verdict {
	count := map[string]int{}
	exact := map[string]int{}
	for _, line := range block {
		folded := strings.Map(func(r rune) rune {
			switch {
			case r == '_' || r == '.':
				return '-'
			case r >= 'A' && r <= 'Z':
				return r + 'a' - 'A'
			case r > ' ' && r < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r):
				return r
			}
			return -1
		}, line[0])
		count[folded]++
		exact[line[0]]++
	}
	verdict := stamp.OK
	// In the order of the steps: another spelling is found at its entry, a value more only by the tag.
	for _, name := range []string{"A", "Session", "X-Auth-User"} {
		if count[strings.ToLower(name)] > exact[name] {
			return stamp.FieldTwice
		}
		if exact[name] > 0 {
			verdict = stamp.ProofWrong
		}
	}
	if verdict == stamp.OK && count["0"] > 0 {
		return stamp.FieldUncovered
	}
	return verdict
}
