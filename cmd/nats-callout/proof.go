package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp.example/claim/field"
	stamp "stamp.example/receivers/go"
	"stamp/internal/proof"
)

type proofCommand struct {
	Check proofCheck `cmd:"" help:"say what a message proves, as a receiver judges it"`
}

type proofCheck struct {
	File     string   `arg:"" optional:"" help:"file with a header block, from NATS/1.0 to the blank line, and the payload; default: standard input"`
	Servers  []string `required:"" placeholder:"KEY" help:"public keys of the servers that are trusted (X... and N...), with commas between them"`
	Receiver string   `placeholder:"FILE" help:"the receiver's key file, for proofs that are for a receiver"`
	Reveal   bool     `help:"show the values too"`
	Stream   string   `group:"message" placeholder:"NAME" help:"take the message from this stream"`
	Seq      uint64   `group:"message" placeholder:"NUMBER" help:"its sequence in the stream"`
	Account  string   `placeholder:"NAME" help:"the account in which the message must have been published (default: any)"`
	Subject  []string `placeholder:"SUBJECT" help:"the subjects on which it must have been published, with wildcards (default: any)"`
	connection
}

// maxMessage is the greatest length of a message in bytes: more than the max_payload that a server can have.
const maxMessage = 64<<20 + 1<<20

// Run shows what is proven. If nothing is, it says why, and the command fails.
func (c *proofCheck) Run(s *streams) error {
	if (c.Stream != "") != (c.Seq != 0) || c.Stream != "" && c.File != "" {
		return usage(errors.New("expected --stream and --seq, or a file, or standard input"), "")
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	m, err := c.message(s)
	if err != nil {
		return err
	}
	about, err := readProof(m.Header)
	if err != nil {
		return fmt.Errorf("proof: nothing is proven: %w", err)
	}
	trust, err := stamp.NewTrust(c.options(about, m.Header, keys))
	if err != nil {
		return usage(fmt.Errorf("proof: %w", err), "")
	}
	id, err := stamp.Identify(m, trust)
	if err != nil {
		return hint(fmt.Errorf("proof: nothing is proven: %w", err), about.hint(err, m.Header))
	}
	return c.show(s.out, about, id, m.Header)
}

// keys returns the seeds of the receiver.
func (c *proofCheck) keys() (seeds []string, err error) {
	if c.Receiver == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.Receiver)
	if err != nil {
		return nil, fmt.Errorf("--receiver: %w", err)
	}
	for _, seed := range receiverSeeds(text) {
		seeds = append(seeds, string(seed))
	}
	return seeds, nil
}

func (c *proofCheck) message(s *streams) (m stamp.Message, err error) {
	if c.Stream != "" {
		return c.stored(s)
	}
	in := s.in
	if c.File != "" && c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return m, fmt.Errorf("proof: %w", err)
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxMessage+1))
	if err != nil {
		return m, fmt.Errorf("proof: %w", err)
	}
	end := bytes.Index(text, []byte("\r\n\r\n"))
	if len(text) > maxMessage || !bytes.HasPrefix(text, []byte("NATS/1.0")) || end < 0 {
		return m, fmt.Errorf("proof: expected a header block, from NATS/1.0 to a blank line, and a payload, of at most %d MiB together; found something else", maxMessage>>20)
	}
	block := text[:end+4]
	header, err := nats.DecodeHeadersMsg(block)
	if err != nil {
		return m, errors.New("proof: the header block cannot be read")
	}
	return stamp.Message{Header: header, Payload: text[len(block):]}, nil
}

// stored returns a message of a stream.
func (c *proofCheck) stored(s *streams) (m stamp.Message, err error) {
	nc, err := c.dial(s)
	if err != nil {
		return m, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return m, fmt.Errorf("proof: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	stream, err := js.Stream(ctx, c.Stream)
	if err != nil {
		return m, fmt.Errorf("proof: stream %s: %w", c.Stream, err)
	}
	stored, err := stream.GetMsg(ctx, c.Seq)
	if err != nil {
		return m, fmt.Errorf("proof: stream %s, message %d: %w", c.Stream, c.Seq, err)
	}
	return stamp.Message{Header: stored.Header, Payload: stored.Data}, nil
}

// proofText is what can be read of a proof without keys.
type proofText struct {
	kind      proof.Kind
	servers   []string // ids of the server's keys
	receiver  string   // id of the receiver's key, or empty
	covered   []string // names of the headers of the message that the proof is about
	encrypted map[string]bool
}

// sizes are how many bytes a proof of a kind has before and after the entries of names (docs/proofs.md).
var sizes = map[proof.Kind]struct{ head, tail int }{proof.ForReceiver: {25, 16}, proof.Signed: {3, 64}, proof.SignedForReceiver: {27, 80}}

// readProof reads a proof as far as a trust can be made for it. The receiver judges it.
func readProof(header map[string][]string) (*proofText, error) {
	values := header[proof.Name]
	if len(values) != 1 {
		return nil, fmt.Errorf("expected one header %s; found %d", proof.Name, len(values))
	}
	raw, err := base64.RawURLEncoding.DecodeString(values[0])
	if err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("the value of %s is not base64", proof.Name)
	}
	p := &proofText{kind: proof.Kind(raw[0]), encrypted: map[string]bool{}}
	size, known := sizes[p.kind]
	if !known {
		return nil, fmt.Errorf("a proof of kind %d is of a later version, which this program does not know", p.kind)
	}
	if len(raw) < size.head+size.tail {
		return nil, fmt.Errorf("a proof of kind %d has at least %d bytes; found %d", p.kind, size.head+size.tail, len(raw))
	}
	if p.kind != proof.Signed {
		p.servers, p.receiver = []string{fmt.Sprintf("%x", raw[1:3])}, fmt.Sprintf("%x", raw[3:5])
	}
	if p.kind != proof.ForReceiver {
		p.servers = append(p.servers, fmt.Sprintf("%x", raw[size.head-2:size.head]))
	}
	entries := map[[3]byte]bool{} // whether the values are encrypted
	for e := range slices.Chunk(raw[size.head:len(raw)-size.tail], 3) {
		if len(e) == 3 {
			entries[[3]byte{e[0] &^ 0x80, e[1], e[2]}] = e[0]&0x80 != 0
		}
	}
	seen := map[string]bool{} // folded names: of several spellings of one name, the receiver refuses all
	for _, name := range slices.Sorted(maps.Keys(header)) {
		folded := field.Fold(name)
		if !field.IsToken(name) || seen[folded] {
			continue
		}
		seen[folded] = true
		sum := sha256.Sum256([]byte(folded))
		if encrypted, found := entries[[3]byte{sum[0] &^ 0x80, sum[1], sum[2]}]; found {
			p.covered = append(p.covered, name)
			p.encrypted[name] = encrypted
		}
	}
	return p, nil
}

// options returns a trust that reads all headers that the proof is about. A receiver wants to know of one of them whose
// the message is; here it is the first that could be that one.
func (c *proofCheck) options(p *proofText, header map[string][]string, keys []string) stamp.Options {
	account, subjects := c.Account, c.Subject
	if account == "" {
		account = "*"
	}
	if len(subjects) == 0 {
		subjects = []string{">"}
	}
	o := stamp.Options{User: "none", Accounts: map[string][]string{account: subjects}, Servers: c.Servers, Keys: keys}
	names := slices.Clone(p.covered)
	slices.SortStableFunc(names, func(a, b string) int { // those that everybody can read first
		switch {
		case p.encrypted[a] == p.encrypted[b]:
			return 0
		case p.encrypted[b]:
			return -1
		}
		return 1
	})
	user := slices.IndexFunc(names, func(name string) bool { return len(header[name]) == 1 && header[name][0] != "" })
	if user >= 0 {
		o.User = names[user]
		names = slices.Delete(names, user, user+1)
	}
	o.Many = names
	return o
}

// hint says what may help.
func (p *proofText) hint(err error, header map[string][]string) string {
	switch stamp.VerdictOf(err) {
	case stamp.ProofKey:
		text := "the keys of the server have the ids " + strings.Join(p.servers, " and ")
		if p.receiver != "" {
			text += ", and that of the receiver " + p.receiver + "; give the receiver's key file with --receiver"
		}
		return text + "; nats-callout keys proof show shows ids"
	case stamp.Anonymous:
		return "none of the headers that the proof is about has one value that is not empty and can be read here"
	case stamp.FieldTwice, stamp.ProofMalformed:
		return p.aliasHint(header)
	}
	return ""
}

// aliasHint names the headers that are spellings of one name of the proof, or of the proof itself.
func (p *proofText) aliasHint(header map[string][]string) string {
	bySpelling := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		folded := foldAny(name)
		bySpelling[folded] = append(bySpelling[folded], strconv.Quote(name))
	}
	var hints []string
	for _, name := range slices.Concat(p.covered, []string{proof.AccountName, proof.SubjectName, proof.TimeName, proof.Name}) {
		if spellings := bySpelling[field.Fold(name)]; len(spellings) > 1 {
			hints = append(hints, strings.Join(spellings, " and "))
		}
	}
	if len(hints) == 0 {
		return ""
	}
	return "of several spellings of one name a receiver takes none: " + strings.Join(hints, "; ")
}

// foldAny folds a name as receivers do: what is not allowed in a name is left out.
func foldAny(name string) string {
	token := []byte(name)
	token = slices.DeleteFunc(token, func(c byte) bool { return !field.IsTokenByte(c) })
	return field.Fold(string(token))
}

func (c *proofCheck) show(w io.Writer, p *proofText, id stamp.Identity, header map[string][]string) error {
	kinds := map[proof.Kind]string{proof.ForReceiver: "for a receiver", proof.Signed: "signed", proof.SignedForReceiver: "signed, and for a receiver"}
	fmt.Fprintf(w, "proven\t%s\n", kinds[p.kind])
	fmt.Fprintf(w, "server\t%s\naccount\t%s\nsubject\t%s\ntime\t%s\n", id.Server, shown(id.Account), shown(id.Subject), header[proof.TimeName][0])
	for _, name := range p.covered {
		note := ""
		if p.encrypted[name] {
			note = ", encrypted"
		}
		values := id.Values(name)
		if values == nil && !p.encrypted[name] {
			values = header[name] // that of the user
		}
		switch {
		case p.encrypted[name] && values == nil && c.Receiver == "":
			fmt.Fprintf(w, "header\t%s\tencrypted, for the receiver %s\n", name, p.receiver)
			continue
		case p.encrypted[name] && values == nil:
			values = []string{id.User}
		}
		fmt.Fprintf(w, "header\t%s\t%s%s\n", name, count(len(values), "value"), note)
		for _, v := range values {
			if c.Reveal {
				fmt.Fprintf(w, "value\t%s\t%q\n", name, v)
			}
		}
	}
	_, err := fmt.Fprintln(w, "payload\tproven")
	if others := c.others(p, header); len(others) > 0 && err == nil {
		_, err = fmt.Fprintf(w, "not proven\t%s\n", strings.Join(others, ", "))
	}
	return err
}

// shown returns a text as it is, or quoted if a terminal could show it as another one: with control characters, among them those
// of the direction of writing (Unicode's class Cf), or with separators of lines.
func shown(text string) string {
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// count returns a number of things: 1 value, 2 values.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// others returns the headers that the proof says nothing about.
func (c *proofCheck) others(p *proofText, header map[string][]string) (names []string) {
	known := append([]string{proof.AccountName, proof.SubjectName, proof.TimeName, proof.Name}, p.covered...)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if !slices.Contains(known, name) {
			names = append(names, fmt.Sprintf("%q", name))
		}
	}
	return names
}
