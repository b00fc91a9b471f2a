// Package proven checks the proofs of a server in tests, with the receiver in Go.
package proven

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"

	stamp "stamp.example/receivers/go"
)

// Keys are the keys of a server and of one receiver.
type Keys struct {
	ServerX, ServerN       string // public keys
	Receiver, ReceiverSeed string
	ServerSeeds            string // a key file
}

// NewKeys makes keys.
func NewKeys() (*Keys, error) {
	var errs []error
	pair := func(prefix nkeys.PrefixByte) (public, seed string) {
		kp, err := nkeys.CreatePair(prefix)
		if err == nil {
			public, err = kp.PublicKey()
			errs = append(errs, err)
			var text []byte
			text, err = kp.Seed()
			seed = string(text)
		}
		errs = append(errs, err)
		return public, seed
	}
	k := &Keys{}
	var x, n string
	k.ServerX, x = pair(nkeys.PrefixByteCurve)
	k.ServerN, n = pair(nkeys.PrefixByteServer)
	k.Receiver, k.ReceiverSeed = pair(nkeys.PrefixByteCurve)
	k.ServerSeeds = "# of a test\n" + x + "\n" + n + "\n"
	return k, errors.Join(errs...)
}

// WithReceiver returns the keys of the same server with the receiver of others.
func (k *Keys) WithReceiver(others *Keys) *Keys {
	mixed := *k
	mixed.Receiver, mixed.ReceiverSeed = others.Receiver, others.ReceiverSeed
	return &mixed
}

// Proven is what a message proves.
type Proven struct {
	stamp.Identity
	Kind      byte
	Salt      [16]byte
	Counter   uint32
	Stamped   map[string][]string // the stamped headers, decrypted
	Encrypted map[string]bool     // those of them that were encrypted
	Size      int                 // of the line Stamp-Proof
}

// Parse reads a header block that a server has written: it is well formed.
func Parse(block []byte) map[string][]string {
	header := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSuffix(string(block), "\r\n\r\n"), "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ":")
		header[name] = append(header[name], strings.TrimPrefix(value, " "))
	}
	return header
}

// Check returns what a message proves to the receiver. The message must have been stamped with at least one header that has one
// value, which is not empty.
func (k *Keys) Check(header map[string][]string, payload []byte) (*Proven, error) {
	p := &Proven{Stamped: map[string][]string{}, Encrypted: map[string]bool{}}
	if len(header["Stamp-Proof"]) != 1 {
		return nil, fmt.Errorf("%d values of Stamp-Proof", len(header["Stamp-Proof"]))
	}
	names, err := p.read(header)
	if err != nil {
		return nil, err
	}
	trust := stamp.Options{Accounts: map[string][]string{"*": {">"}}, Servers: []string{k.ServerX, k.ServerN}, Keys: []string{k.ReceiverSeed}}
	for _, name := range names {
		if values := header[name]; trust.User == "" && len(values) == 1 && values[0] != "" {
			trust.User = name
		} else {
			trust.Many = append(trust.Many, name)
		}
	}
	t, err := stamp.NewTrust(trust)
	if err != nil {
		return nil, err
	}
	if p.Identity, err = stamp.Identify(stamp.Message{Header: header, Payload: payload}, t); err != nil {
		return nil, err
	}
	if !p.Proven {
		return nil, errors.New("nothing is proven")
	}
	p.Stamped[trust.User] = []string{p.User}
	for _, name := range trust.Many {
		p.Stamped[name] = p.Values(name)
	}
	return p, nil
}

// read reads the bytes of the proof, and returns the names of the headers that they are about.
func (p *Proven) read(header map[string][]string) (names []string, err error) {
	text := header["Stamp-Proof"][0]
	p.Size = len("Stamp-Proof: ") + len(text) + len("\r\n")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	sizes := map[byte]struct{ head, tail int }{1: {25, 16}, 2: {3, 64}, 3: {27, 16 + 64}}
	if err != nil || len(raw) == 0 || len(raw) < sizes[raw[0]].head+sizes[raw[0]].tail {
		return nil, errors.Join(errors.New("no proof of a known kind"), err)
	}
	p.Kind = raw[0]
	if p.Kind != 2 {
		p.Salt, p.Counter = [16]byte(raw[5:]), binary.BigEndian.Uint32(raw[21:])
	}
	entries := raw[sizes[p.Kind].head : len(raw)-sizes[p.Kind].tail]
	for name := range header {
		sum := sha256.Sum256([]byte(strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))))
		for entry := range slices.Chunk(entries, 3) {
			if len(entry) == 3 && sum[0]&0x7f == entry[0]&0x7f && sum[1] == entry[1] && sum[2] == entry[2] {
				names = append(names, name)
				if entry[0]&0x80 != 0 {
					p.Encrypted[name] = true
				}
			}
		}
	}
	slices.Sort(names)
	return names, nil
}
