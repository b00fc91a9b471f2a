package vectors

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/stamptest"
)

// hostile.json has lines of blocks that fuzzing of the server found, and some that were thought of.
//
//go:embed testdata/hostile.json
var hostileJSON []byte

func hostileBlocks() (blocks [][]stamp.Line) {
	if err := json.Unmarshal(hostileJSON, &blocks); err != nil {
		panic(err)
	}
	return blocks
}

// Compile returns the trust, at a time.
func (t Trust) Compile(now string) (*stamp.Trust, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	options, err := stamp.OptionsJSON(text)
	if err != nil {
		return nil, err
	}
	at, err := time.Parse(time.RFC3339, now)
	if err != nil {
		return nil, err
	}
	options.Now = func() time.Time { return at }
	return stamp.NewTrust(options)
}

// Files returns the files by their names.
func Files() map[string][]byte {
	return map[string][]byte{
		"vectors.json": document(
			section("about", []string{
				"What receivers in all languages must say of which messages: see docs/proofs.md. Made by receivers/go/internal/vectors.",
				"cases: judge headers and payload (base64) with the trust at the time now, after the messages of before, with the same trust object.",
				"arrived is the subject on which a message arrived, if that is known; with subjects, the handler is for messages that were published on one of these.",
				"With forwarded, the header Stamp-Forwarded-Proof is judged. want.values has the names of one and many that the message has.",
				"want.server is the public key with which the identity was proven, as the trust has it: that of the signature, or else that of the tag.",
				"bad_trusts: a receiver must refuse to work with each trust. With field, its error names that field.",
				"good_trusts: a receiver must take each trust. bad_texts: a receiver that reads JSON itself must refuse each text, one that is given the values of a parser cannot.",
			}),
			section("cases", Cases()),
			section("bad_trusts", BadTrusts()),
			section("good_trusts", GoodTrusts()),
			section("bad_texts", BadTexts()),
		),
		"make.json": document(
			section("about", []string{
				"What proofs are made of, and the lines that a message has then, byte for byte: see docs/proofs.md. Made by receivers/go/internal/vectors.",
				"salt and payload are base64. forward is the value of Stamp-Forwarded-Proof, made of that message by a receiver with the keys of trust.",
			}),
			section("cases", Makes()),
		),
		"mutations.json": document(
			section("about", []string{
				"Valid messages that were changed, for receivers in all languages. The verdicts are those of the receiver in Go, whose test says for each",
				"which user it must find: somebody only if nothing has changed that is proven. All are judged with the only trust, at the only time now.",
			}),
			section("trust", []Trust{MutationTrust()}),
			section("now", []string{Now}),
			section("cases", someMutations()),
		),
	}
}

// someMutations returns mutations of all sorts, with what the receiver in Go says of them.
func someMutations() (some []Mutation) {
	const each = 16
	trust, err := MutationTrust().Compile(Now)
	if err != nil {
		panic(err)
	}
	for i, m := range Mutations() {
		if i%each != 0 || !isUTF8(m.Headers) {
			continue
		}
		judge := stamp.Identify
		if m.Forwarded {
			judge = stamp.Forwarded
		}
		id, err := judge(stamp.Message{Header: stamp.Lines(m.Headers), Payload: m.Payload}, trust)
		m.Want = WantOf(id, err, MutationTrust())
		some = append(some, m)
	}
	return some
}

// isUTF8 reports whether receivers in all languages can be given the lines.
func isUTF8(lines []stamp.Line) bool {
	return !slices.ContainsFunc(lines, func(l stamp.Line) bool { return !utf8.ValidString(l[0]) || !utf8.ValidString(l[1]) })
}

// WantOf returns what a receiver said, in the form of the files.
func WantOf(id stamp.Identity, err error, trust Trust) Want {
	w := Want{Verdict: stamp.VerdictOf(err), User: id.User, Account: id.Account, Subject: id.Subject, Proven: id.Proven, Server: id.Server}
	if err == nil && len(trust.Accounts) > 0 {
		w.Time = id.Time.Format(stamptest.TimeLayout)
	}
	for _, name := range slices.Concat(trust.One, trust.Many) {
		if values := id.Values(name); values != nil {
			if w.Values == nil {
				w.Values = map[string][]string{}
			}
			w.Values[name] = values
		}
	}
	return w
}

// sections of a document are written with an element on each line.
type sectionText struct{ name, text string }

func section[E any](name string, elements []E) sectionText {
	var b bytes.Buffer
	b.WriteString("[\n")
	for i, e := range elements {
		var line bytes.Buffer
		encoder := json.NewEncoder(&line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(e); err != nil {
			panic(err)
		}
		b.Write(bytes.TrimSpace(line.Bytes()))
		if i < len(elements)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteByte(']')
	return sectionText{name, b.String()}
}

func document(sections ...sectionText) []byte {
	var b bytes.Buffer
	b.WriteString("{\n")
	for i, s := range sections {
		fmt.Fprintf(&b, "%q: %s", s.name, s.text)
		if i < len(sections)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("}\n")
	return b.Bytes()
}
