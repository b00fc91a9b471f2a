package proof_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"stamp/internal/proof"
	"stamp/test/proven"
)

// vector is a case of receivers/make.json.
type vector struct {
	Name      string
	CurveSeed string `json:"curve_seed"`
	SignSeed  string `json:"sign_seed"`
	Receiver  string
	Salt      []byte
	Counter   uint32
	Account   string
	Subject   string
	Time      string
	Headers   [][2]string
	Encrypt   []string
	Sign      bool
	Payload   []byte
	Lines     [][2]string
}

// TestVectors makes the proofs of receivers/make.json, byte for byte.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("../../receivers/make.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []vector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Cases {
		t.Run(v.Name, func(t *testing.T) {
			want := map[string][]string{}
			for _, line := range v.Lines {
				want[line[0]] = append(want[line[0]], line[1])
			}
			got := proven.Parse(v.make(t))
			for name, values := range want {
				if !slices.Equal(got[name], values) {
					t.Errorf("header %s is %q, expected %q", name, got[name], values)
				}
			}
			if len(got) != len(want) {
				t.Errorf("the proof has %d headers, expected %d", len(got), len(want))
			}
		})
	}
	if len(file.Cases) < 10 {
		t.Errorf("the file has %d cases, expected 10 or more", len(file.Cases))
	}
}

// make returns the header block of a case, as a server does.
func (v *vector) make(t *testing.T) []byte {
	t.Helper()
	keys, err := proof.ParseKeys([]byte(v.CurveSeed + "\n" + v.SignSeed + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	var receiver *proof.Receiver
	if v.Receiver != "" {
		if receiver, err = keys.Receiver(v.Receiver); err != nil {
			t.Fatal(err)
		}
	}
	var headers []proof.Header
	for _, line := range v.Headers {
		i := slices.IndexFunc(headers, func(h proof.Header) bool { return h.Name == line[0] })
		if i < 0 {
			i = len(headers)
			headers = append(headers, proof.Header{Name: line[0], Encrypted: slices.Contains(v.Encrypt, line[0])})
		}
		headers[i].Values = append(headers[i].Values, line[1])
	}
	block := "NATS/1.0\r\n"
	start := len(block)
	for i := range headers {
		h := &headers[i]
		for _, value := range h.Values {
			block += h.Name + ": "
			h.At = append(h.At, len(block)-start)
			if h.Encrypted {
				value = strings.Repeat("A", proof.EncryptedLen(len(value)))
			}
			block += value + "\r\n"
		}
	}
	block += proof.AccountName + ": " + v.Account + "\r\n" + proof.SubjectName + ": " + v.Subject + "\r\n" + proof.TimeName + ": " + v.Time + "\r\n"
	l, err := proof.NewLayout(v.Account, headers, receiver != nil, v.Sign)
	if err != nil {
		t.Fatal(err)
	}
	p := proof.NewProver(keys, receiver)
	if err := proof.SetEpoch(p, [16]byte(v.Salt), v.Counter); err != nil {
		t.Fatal(err)
	}
	out, _, err := p.Append([]byte(block), l, &proof.Message{Lines: start, Subject: []byte(v.Subject), Time: []byte(v.Time), Sign: v.Sign}, v.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if grown := len(out) - len(block); grown > l.MaxLen() {
		t.Errorf("the proof has %d bytes, MaxLen is %d", grown, l.MaxLen())
	}
	return append(out, "\r\n"...)
}
