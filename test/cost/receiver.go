package main

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	receivers "stamp.example/receivers/go"
	"stamp.example/receivers/go/stamptest"
)

// receiver judges messages of strangers, with the ids of the keys and the salt of a true proof.
type receiver struct {
	trust *receivers.Trust
	lines []receivers.Line
	head  []byte // the true proof as far as the entries
}

func newReceiver() *receiver {
	server := stamptest.NewServer()
	r := &receiver{trust: must(receivers.NewTrust(receivers.Options{
		User: "X-User", Many: []string{"A"}, Accounts: map[string][]string{"*": {">"}}, Servers: server.Servers(), Keys: server.Keys(),
	}))}
	m := server.Stamp(map[string][]string{"X-User": {"alice"}}, "a", nil)
	for name, values := range m.Header {
		if name != "Stamp-Proof" {
			r.lines = append(r.lines, receivers.Line{name, values[0]})
			continue
		}
		const entries = 25
		r.head = must(base64.RawURLEncoding.DecodeString(values[0]))[:entries]
	}
	return r
}

func (r *receiver) judge(header map[string][]string, payload string) {
	m := receivers.Message{Header: header, Payload: []byte(payload)}
	receivers.Identify(m, r.trust)
	receivers.Forwarded(m, r.trust)
}

// headers are the lines of a text as headers, beside those of a true message.
func (r *receiver) headers(in string) map[string][]string {
	header := receivers.Lines(r.lines)
	for _, line := range strings.FieldsFunc(in, func(c rune) bool { return c == '\n' || c == ',' }) {
		name, value, _ := strings.Cut(line, ":")
		header[name] = append(header[name], value)
	}
	return header
}

func (r *receiver) prove(header map[string][]string, entries string) {
	header["Stamp-Proof"] = []string{base64.RawURLEncoding.EncodeToString([]byte(string(r.head) + entries + strings.Repeat("t", 16)))}
}

// identify judges headers that are not those of the proof.
func (r *receiver) identify(in string) {
	header := r.headers(in)
	r.prove(header, "")
	r.judge(header, in)
}

// proof judges a proof whose entries are a text.
func (r *receiver) proof(in string) {
	header := r.headers("")
	r.prove(header, in)
	r.judge(header, "")
	header["Stamp-Proof"] = []string{in}
	r.judge(header, "")
}

// entries judges a proof that has an entry for each header, as far as one has room.
func (r *receiver) entries(in string) {
	header := r.headers(in)
	var entries strings.Builder
	for name := range header {
		if sum := sha256.Sum256([]byte(strings.ToLower(name))); entries.Len() < 3000 {
			entries.Write([]byte{sum[0] &^ 0x80, sum[1], sum[2]})
		}
	}
	r.prove(header, entries.String())
	r.judge(header, in)
}

// forwarded judges a forwarded proof whose fields are a text.
func (r *receiver) forwarded(in string) {
	proof := string(r.head) + strings.Repeat("t", 16)
	value := "\x01\x00" + string(rune(len(proof))) + proof + strings.Repeat("d", 16)
	for _, fields := range []string{in, "\x00\x01a\xff\xff" + in} {
		r.judge(map[string][]string{"Stamp-Forwarded-Proof": {base64.RawURLEncoding.EncodeToString([]byte(value + fields))}}, "")
	}
	r.judge(map[string][]string{"Stamp-Forwarded-Proof": {in}}, "")
}
