// Package proven checks proofs for tests. It was written from docs/proofs.md and shares no code with package proof, so that
// a fault of one is not one of the other too.
package proven

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"
)

// Keys are a server's keys and one receiver's, made for a test.
type Keys struct {
	ServerX, ServerN      string // public keys
	Receiver              string // public key
	ServerSeeds           string // a key file
	ReceiverSeed          string
	private               *ecdh.PrivateKey // of the receiver
	serverX, serverN, pub []byte
}

// NewKeys makes keys.
func NewKeys() (*Keys, error) {
	pair := func(prefix nkeys.PrefixByte) (public, seed string, err error) {
		kp, err := nkeys.CreatePair(prefix)
		if err != nil {
			return "", "", err
		}
		text, err := kp.Seed()
		if err != nil {
			return "", "", err
		}
		public, err = kp.PublicKey()
		return public, string(text), err
	}
	k := &Keys{}
	var x, n string
	var err, err2, err3 error
	k.ServerX, x, err = pair(nkeys.PrefixByteCurve)
	k.ServerN, n, err2 = pair(nkeys.PrefixByteServer)
	k.Receiver, k.ReceiverSeed, err3 = pair(nkeys.PrefixByteCurve)
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	k.ServerSeeds = "# of a test\n" + x + "\n" + n + "\n"
	return k, k.read()
}

// WithReceiver returns the keys of the same server with another receiver.
func (k *Keys) WithReceiver(public, seed string) (*Keys, error) {
	other := *k
	other.Receiver, other.ReceiverSeed = public, seed
	return &other, other.read()
}

func (k *Keys) read() error {
	_, raw, err := nkeys.DecodeSeed([]byte(k.ReceiverSeed))
	if err != nil {
		return err
	}
	if k.private, err = ecdh.X25519().NewPrivateKey(raw); err != nil {
		return err
	}
	k.pub = k.private.PublicKey().Bytes()
	if k.serverX, err = nkeys.Decode(nkeys.PrefixByteCurve, []byte(k.ServerX)); err != nil {
		return err
	}
	k.serverN, err = nkeys.Decode(nkeys.PrefixByteServer, []byte(k.ServerN))
	return err
}

// Proven is what a message proves.
type Proven struct {
	Kind                   byte
	Salt                   [16]byte
	Counter                uint32
	Account, Subject, Time string
	Values                 map[string][]string // of the stamped headers, decrypted
	Encrypted              map[string]bool     // the headers that were
	Size                   int                 // of the line Stamp-Proof
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

var (
	b64    = base64.RawURLEncoding.Strict()
	errEnd = errors.New("the proof is too short")
)

func fold(name string) string {
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
}

func id(key []byte) []byte {
	sum := sha256.Sum256(key)
	return sum[:2]
}

// Check returns what a message proves to the receiver of k.
func (k *Keys) Check(header map[string][]string, payload []byte) (*Proven, error) {
	if len(header["Stamp-Proof"]) != 1 {
		return nil, fmt.Errorf("%d values of Stamp-Proof", len(header["Stamp-Proof"]))
	}
	text := header["Stamp-Proof"][0]
	raw, err := b64.DecodeString(text)
	if err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("Stamp-Proof is not base64: %w", err)
	}
	p := &Proven{Kind: raw[0], Values: map[string][]string{}, Encrypted: map[string]bool{}, Size: len("Stamp-Proof: ") + len(text) + 2}
	mac, signed := p.Kind == 1 || p.Kind == 3, p.Kind == 2 || p.Kind == 3
	if !mac && !signed {
		return nil, fmt.Errorf("unknown kind %d", p.Kind)
	}
	head, tail := 1, 0
	if mac {
		head, tail = head+24, tail+16
	}
	if signed {
		head, tail = head+2, tail+64
	}
	if len(raw) < head+tail || (len(raw)-head-tail)%3 != 0 {
		return nil, errEnd
	}
	entries := raw[head : len(raw)-tail]
	if mac {
		if !bytes.Equal(raw[1:3], id(k.serverX)) || !bytes.Equal(raw[3:5], id(k.pub)) {
			return nil, errors.New("other X25519 keys")
		}
		p.Salt, p.Counter = [16]byte(raw[5:21]), binary.BigEndian.Uint32(raw[21:25])
	}
	if signed && !bytes.Equal(raw[head-2:head], id(k.serverN)) {
		return nil, errors.New("another Ed25519 key")
	}
	fText, fMAC, names, err := fields(header, entries, p)
	if err != nil {
		return nil, err
	}
	beforeTag := raw[:head+len(entries)]
	rest := raw[len(beforeTag):]
	if mac {
		if err := k.open(header, payload, beforeTag, rest[:16], fMAC, names, p); err != nil {
			return nil, err
		}
		rest = rest[16:]
	}
	if signed {
		sum := sha256.Sum256(payload)
		message := slices.Concat([]byte("stamp proof v1"), raw[:len(raw)-64], fText, sum[:])
		if !ed25519.Verify(k.serverN, message, rest) {
			return nil, errors.New("wrong signature")
		}
	}
	return p, nil
}

// fields returns F_text and F_mac, and the names of the encrypted headers in order.
func fields(header map[string][]string, entries []byte, p *Proven) (fText, fMAC []byte, encrypted []string, err error) {
	appendField := func(b []byte, name string, values []string, hidden bool) []byte {
		b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
		b = append(b, name...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(values)))
		for _, v := range values {
			if hidden {
				b = binary.BigEndian.AppendUint32(b, 1<<31|uint32(b64.DecodedLen(len(v))))
			} else {
				b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
			}
		}
		return b
	}
	for name, to := range map[string]*string{"Stamp-Account": &p.Account, "Stamp-Subject": &p.Subject, "Stamp-Time": &p.Time} {
		if len(header[name]) != 1 {
			return nil, nil, nil, fmt.Errorf("%d values of %s", len(header[name]), name)
		}
		*to = header[name][0]
	}
	for _, name := range []string{"Stamp-Account", "Stamp-Subject", "Stamp-Time"} {
		fText = appendField(fText, name, header[name], false)
	}
	fMAC = slices.Clone(fText)
	last := ""
	for entry := range slices.Chunk(entries, 3) {
		var found []string
		for name := range header {
			sum := sha256.Sum256([]byte(fold(name)))
			if sum[0]&0x7f == entry[0]&0x7f && sum[1] == entry[1] && sum[2] == entry[2] {
				found = append(found, name)
			}
		}
		if len(found) != 1 || fold(found[0]) <= last {
			return nil, nil, nil, fmt.Errorf("an entry fits the headers %q, the one before %q", found, last)
		}
		name, hidden := found[0], entry[0]&0x80 != 0
		last = fold(name)
		fText, fMAC = appendField(fText, name, header[name], false), appendField(fMAC, name, header[name], hidden)
		p.Values[name] = header[name]
		if hidden {
			encrypted, p.Encrypted[name] = append(encrypted, name), true
		}
	}
	return fText, fMAC, encrypted, nil
}

// open checks the tag, and decrypts the values.
func (k *Keys) open(header map[string][]string, payload, beforeTag, tag, fMAC []byte, encrypted []string, p *Proven) error {
	server, err := ecdh.X25519().NewPublicKey(k.serverX)
	if err != nil {
		return err
	}
	secret, err := k.private.ECDH(server)
	if err != nil {
		return err
	}
	key, err := hkdf.Key(sha256.New, secret, p.Salt[:], "stamp proof v1"+string(k.serverX)+string(k.pub), 32)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	nonce := func(first byte) []byte {
		return binary.BigEndian.AppendUint32([]byte{first, 0, 0, 0, 0, 0, 0, 0}, p.Counter)
	}
	t := gcm.Seal(nil, nonce(1), nil, payload)
	var ciphertext []byte
	for _, name := range encrypted {
		for _, v := range header[name] {
			part, err := b64.DecodeString(v)
			if err != nil {
				return fmt.Errorf("an encrypted value is not base64: %w", err)
			}
			ciphertext = append(ciphertext, part...)
		}
	}
	plain, err := gcm.Open(nil, nonce(0), append(ciphertext, tag...), slices.Concat([]byte("stamp proof v1"), beforeTag, fMAC, t))
	if err != nil {
		return err
	}
	for _, name := range encrypted {
		values := make([]string, len(header[name]))
		for i, v := range header[name] {
			size := b64.DecodedLen(len(v))
			values[i], plain = string(plain[:size]), plain[size:]
		}
		p.Values[name] = values
	}
	return nil
}
