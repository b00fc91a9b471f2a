package vectors

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/internal/wire"
	"stamp.example/receivers/go/stamptest"
)

// Mutation is a valid message that was changed.
type Mutation struct {
	Name      string       `json:"name"`
	Forwarded bool         `json:"forwarded,omitempty"`
	Headers   []stamp.Line `json:"headers"`
	Payload   []byte       `json:"payload"`
	Want      Want         `json:"want"`

	// Genuine is the user, if all that is proven is as a server stamped it. The change then was of one of these:
	//   - the order of lines with different names, which has no meaning, or of lines that are equal;
	//   - headers that are not proven, whose names are no spelling of a proven one, and that the service does not read;
	//   - one genuine message became another one, for example by the proof of another connection for the same user, subject, time
	//     and payload. A message with encrypted values has none that differs in its proof alone.
	Genuine string `json:"-"`
}

// MutationTrust trusts the servers of the messages that are changed.
func MutationTrust() Trust { return trust() }

// genuine are messages of servers, and what was stamped on them.
type genuine struct {
	user    string
	lines   []stamp.Line
	payload []byte
	proven  map[string][]string
	special map[wire.Entry]bool // names that may not be there beside the proven ones
}

// mutator makes mutations.
type mutator struct {
	random    *rand.Rand
	messages  []genuine // of servers, accounts and subjects that are trusted
	untrusted []genuine
	out       []Mutation
}

// Mutations returns more than 10,000 mutations.
func Mutations() []Mutation {
	m := &mutator{random: rand.New(rand.NewPCG(24, 2))}
	m.stamp()
	for i, kind := range kinds {
		base := m.messages[i]
		m.bytes(kind, base)
		m.order(kind, base)
		m.spellings(kind, base)
		m.parts(kind, base)
		m.forward(kind, base)
	}
	for i := range 4000 {
		m.several(i)
	}
	return m.out
}

// stamp makes the genuine messages. The first four are the usual ones of each kind.
func (m *mutator) stamp() {
	make := func(in stamptest.Input) genuine {
		lines, err := stamptest.Make(in)
		if err != nil {
			panic(err)
		}
		special := map[wire.Entry]bool{}
		for name := range stamp.Lines(lines) {
			special[wire.EntryOf(wire.Fold(name))] = true
		}
		for _, name := range append(append(trust().One, trust().Many...), trust().User) {
			special[wire.EntryOf(wire.Fold(name))] = true
		}
		return genuine{in.Headers[0][1], lines, in.Payload, stamp.Lines(lines), special}
	}
	edits := []func(*stamptest.Input){
		func(*stamptest.Input) {},
		func(in *stamptest.Input) { in.Salt[3] ^= 1 },
		func(in *stamptest.Input) { in.Counter++ },
		func(in *stamptest.Input) { in.Time = "2026-03-01T12:00:01.000000000Z" },
		func(in *stamptest.Input) { in.Subject = "orders.old" },
		func(in *stamptest.Input) { in.Headers[0][1] = "bobby" },
		func(in *stamptest.Input) { in.Payload = []byte("other") },
		func(in *stamptest.Input) { in.Headers = slices.Delete(in.Headers, 3, 4) },
		func(in *stamptest.Input) { in.Encrypt = []string{"X-User", "X-Roles"} },
	}
	wrong := []func(*stamptest.Input){
		func(in *stamptest.Input) { in.Account = "OTHER" },
		func(in *stamptest.Input) { in.Subject = "admin.delete" },
		func(in *stamptest.Input) { in.CurveSeed, in.SignSeed = curveSeed("server b"), serverSeed("sign b") },
		func(in *stamptest.Input) { in.CurveSeed, in.SignSeed = curveSeed(serverAlike), serverSeed(signAlike) },
	}
	for i, edit := range edits {
		for _, kind := range kinds {
			in := input(kind)
			if i == len(edits)-1 && in.Encrypt == nil {
				continue
			}
			edit(&in)
			m.messages = append(m.messages, make(in))
		}
	}
	for _, edit := range wrong {
		for _, kind := range kinds {
			in := input(kind)
			edit(&in)
			m.untrusted = append(m.untrusted, make(in))
		}
	}
}

func (m *mutator) add(name string, lines []stamp.Line, payload []byte) {
	m.out = append(m.out, Mutation{Name: name, Headers: lines, Payload: payload, Genuine: m.userOf(lines, payload)})
}

// userOf returns the user of the genuine message that the lines are, or nothing: they have exactly its proven lines, no header
// with the entry of one of these, such as another spelling, and none that the service reads.
func (m *mutator) userOf(lines []stamp.Line, payload []byte) string {
	found := stamp.Lines(lines)
	for _, g := range m.messages {
		if string(g.payload) == string(payload) && g.is(found) {
			return g.user
		}
	}
	return ""
}

func (g *genuine) is(found map[string][]string) bool {
	for name, values := range g.proven {
		if !slices.Equal(found[name], values) {
			return false
		}
	}
	for name := range found {
		if _, proven := g.proven[name]; !proven && g.special[wire.EntryOf(wire.Fold(name))] {
			return false
		}
	}
	return true
}

// bytes changes each byte.
func (m *mutator) bytes(kind string, base genuine) {
	eachByte := func(text string, what string, use func(name, changed string)) {
		for i := range len(text) {
			for _, change := range []byte{1, 0x20, 0x80, byte(1 + m.random.IntN(255))} {
				b := []byte(text)
				b[i] ^= change
				use(fmt.Sprintf("%s: byte %d of %s ^ %d", kind, i, what, change), string(b))
			}
		}
	}
	eachEdge := func(text string, what string, use func(name, changed string)) {
		for i := range len(text) {
			use(fmt.Sprintf("%s: byte %d of %s removed", kind, i, what), text[:i]+text[i+1:])
			use(fmt.Sprintf("%s: byte %d of %s doubled", kind, i, what), text[:i+1]+text[i:])
		}
	}
	for at, line := range base.lines {
		with := func(n int) func(name, changed string) {
			return func(name, changed string) {
				lines := slices.Clone(base.lines)
				lines[at][n] = changed
				m.add(name, lines, base.payload)
			}
		}
		if line[0] == wire.Proof {
			set := with(1)
			encoded := func(name, changed string) { set(name, encode([]byte(changed))) }
			eachByte(string(decode(line[1])), "the proof", encoded)
			eachEdge(string(decode(line[1])), "the proof", encoded)
		}
		eachByte(line[1], fmt.Sprintf("value %d", at), with(1))
		eachEdge(line[1], fmt.Sprintf("value %d", at), with(1))
		eachByte(line[0], fmt.Sprintf("name %d", at), with(0))
		eachEdge(line[0], fmt.Sprintf("name %d", at), with(0))
	}
	payload := func(name, changed string) { m.add(name, base.lines, []byte(changed)) }
	eachByte(string(base.payload), "the payload", payload)
	eachEdge(string(base.payload), "the payload", payload)
}

// order swaps, doubles and removes lines, and swaps values.
func (m *mutator) order(kind string, base genuine) {
	n := len(base.lines)
	for i := range n {
		m.add(fmt.Sprintf("%s: line %d removed", kind, i), slices.Delete(slices.Clone(base.lines), i, i+1), base.payload)
		m.add(fmt.Sprintf("%s: line %d cut off with all after it", kind, i), slices.Clone(base.lines[:i]), base.payload)
		for j := range n {
			m.add(fmt.Sprintf("%s: line %d again at %d", kind, i, j), slices.Insert(slices.Clone(base.lines), j, base.lines[i]), base.payload)
			if j >= i {
				continue
			}
			lines := slices.Clone(base.lines)
			lines[i], lines[j] = lines[j], lines[i]
			m.add(fmt.Sprintf("%s: lines %d and %d swapped", kind, i, j), lines, base.payload)
			lines = slices.Clone(base.lines)
			lines[i][1], lines[j][1] = lines[j][1], lines[i][1]
			m.add(fmt.Sprintf("%s: values %d and %d swapped", kind, i, j), lines, base.payload)
			lines = slices.Clone(base.lines)
			lines[i][1] = lines[j][1]
			m.add(fmt.Sprintf("%s: value %d is that of %d", kind, i, j), lines, base.payload)
			lines = slices.Clone(base.lines)
			lines[i][1] += lines[j][1]
			m.add(fmt.Sprintf("%s: value %d has that of %d at its end", kind, i, j), slices.Delete(lines, j, j+1), base.payload)
		}
	}
}

// spellings writes names in other ways, in place of lines and beside them, and adds other headers.
func (m *mutator) spellings(kind string, base genuine) {
	spellings := func(name string) []string {
		all := []string{
			strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."),
			name + " ", " " + name, name + "\u00a0", name + "\x00", "\ufeff" + name, name[:1] + "\u00ad" + name[1:],
		}
		return slices.DeleteFunc(all, func(s string) bool { return s == name })
	}
	for i, line := range base.lines {
		for _, other := range spellings(line[0]) {
			lines := slices.Clone(base.lines)
			lines[i][0] = other
			m.add(fmt.Sprintf("%s: name %d is %q", kind, i, other), lines, base.payload)
			for _, value := range []string{line[1], "mallory", ""} {
				m.add(fmt.Sprintf("%s: name %d is also %q: %.10q", kind, i, other, value), slices.Insert(slices.Clone(base.lines), i, stamp.Line{other, value}), base.payload)
			}
		}
		for _, name := range []string{"X-User", "X-Roles", "Session", "X-Extra", wire.Subject, wire.Proof, wire.ForwardedProof, userAlike, rolesAlike, "Nats-Msg-Id", ""} {
			m.add(fmt.Sprintf("%s: %q added at %d", kind, name, i), slices.Insert(slices.Clone(base.lines), i, stamp.Line{name, "mallory"}), base.payload)
		}
	}
}

// parts mixes a message with others: the proof, each line, and the payload.
func (m *mutator) parts(kind string, base genuine) {
	for i, other := range slices.Concat(m.messages, m.untrusted) {
		proof := other.lines[len(other.lines)-1]
		lines := slices.Clone(base.lines)
		lines[len(lines)-1] = proof
		m.add(fmt.Sprintf("%s: the proof of message %d", kind, i), lines, base.payload)
		m.add(fmt.Sprintf("%s: the proof of message %d, and its payload", kind, i), lines, other.payload)
		m.add(fmt.Sprintf("%s: two proofs, the second one of message %d", kind, i), append(slices.Clone(base.lines), proof), base.payload)
		m.add(fmt.Sprintf("%s: two proofs, the first one of message %d", kind, i), slices.Insert(slices.Clone(base.lines), 0, proof), base.payload)
		m.add(fmt.Sprintf("%s: all lines of message %d too", kind, i), append(slices.Clone(base.lines), other.lines...), base.payload)
		if len(other.lines) != len(base.lines) {
			continue
		}
		for n := range base.lines {
			lines := slices.Clone(base.lines)
			lines[n] = other.lines[n]
			m.add(fmt.Sprintf("%s: line %d of message %d", kind, n, i), lines, base.payload)
		}
	}
}

// forward changes each byte of a forwarded proof.
func (m *mutator) forward(kind string, base genuine) {
	value := decode(forwardOf(kind, MutationTrust(), base.lines, base.payload))
	add := func(name string, b []byte) {
		m.out = append(m.out, Mutation{Name: name, Forwarded: true, Headers: []stamp.Line{{wire.ForwardedProof, encode(b)}}})
	}
	for i := range value {
		for _, change := range []byte{1, 0x80, byte(1 + m.random.IntN(255))} {
			b := slices.Clone(value)
			b[i] ^= change
			add(fmt.Sprintf("%s: byte %d of the forwarded proof ^ %d", kind, i, change), b)
		}
		add(fmt.Sprintf("%s: byte %d of the forwarded proof removed", kind, i), slices.Delete(slices.Clone(value), i, i+1))
		add(fmt.Sprintf("%s: the forwarded proof cut at byte %d", kind, i), slices.Clone(value[:i]))
	}
}

// several makes a few of the changes at once.
func (m *mutator) several(number int) {
	g := m.messages[m.random.IntN(len(m.messages))]
	lines, payload := slices.Clone(g.lines), g.payload
	for range 1 + m.random.IntN(3) {
		if len(lines) == 0 {
			break
		}
		i, j := m.random.IntN(len(lines)), m.random.IntN(len(lines))
		other := m.messages[m.random.IntN(len(m.messages))]
		switch m.random.IntN(8) {
		case 0:
			lines[i], lines[j] = lines[j], lines[i]
		case 1:
			lines[i][1] = lines[j][1]
		case 2:
			lines = slices.Insert(lines, i, lines[j])
		case 3:
			lines = slices.Delete(lines, i, i+1)
		case 4:
			lines[i] = other.lines[m.random.IntN(len(other.lines))]
		case 5:
			lines = slices.Insert(lines, i, other.lines[m.random.IntN(len(other.lines))])
		case 6:
			payload = other.payload
		case 7:
			lines = slices.Insert(lines, i, stamp.Line{"Other", "x"})
		}
	}
	m.add(fmt.Sprintf("several %d", number), lines, payload)
}
