package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// Kinds of proof.
const (
	KindReceiver = 1 // for a receiver
	KindSigned   = 2
	KindBoth     = 3
)

// Sizes, in bytes.
const (
	saltSize      = 16
	TagSize       = 16
	SignatureSize = 64
	DigestSize    = sha256.Size
	MaxText       = 4096 // characters of a proof
	MaxProof      = MaxText / 4 * 3
)

// context begins what is derived, authenticated and signed, so that none of it can be taken for anything else.
const context = "stamp proof v1"

// Parts are the parts of a proof.
type Parts struct {
	Kind      byte
	Server    [2]byte // id of the server's key for X25519; kinds 1 and 3
	Receiver  [2]byte // id of the receiver's key; kinds 1 and 3
	Salt      [saltSize]byte
	Counter   uint32
	Signer    [2]byte // id of the server's key for Ed25519; kinds 2 and 3
	Entries   []Entry
	BeforeTag []byte // what the tag authenticates
	Tag       []byte // kinds 1 and 3
	BeforeSig []byte // what the signature is of
	Signature []byte // kinds 2 and 3
}

// HasTag reports whether the proof is for a receiver.
func HasTag(kind byte) bool { return kind == KindReceiver || kind == KindBoth }

// HasSignature reports whether the proof is signed.
func HasSignature(kind byte) bool { return kind == KindSigned || kind == KindBoth }

// isKnown reports whether a kind is one of this version.
func isKnown(kind byte) bool { return kind >= KindReceiver && kind <= KindBoth }

// Fault is what is wrong with the bytes of a proof.
type Fault int

// Faults.
const (
	Sound Fault = iota
	Malformed
	UnknownKind
)

// Parse takes a proof apart. The parts are slices of raw. The entries are appended to the given ones.
func Parse(raw []byte, entries []Entry) (p Parts, fault Fault) {
	switch {
	case len(raw) == 0:
		return p, Malformed
	case !isKnown(raw[0]):
		return p, UnknownKind
	case len(raw) > MaxProof:
		return p, Malformed
	}
	p.Kind = raw[0]
	head, tail := 1, 0
	if HasTag(p.Kind) {
		head, tail = head+2+2+saltSize+4, tail+TagSize
	}
	if HasSignature(p.Kind) {
		head, tail = head+2, tail+SignatureSize
	}
	names := len(raw) - head - tail
	if names < 0 || names%len(Entry{}) != 0 {
		return p, Malformed
	}
	rest := raw[1:]
	next := func(n int) []byte {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	if HasTag(p.Kind) {
		p.Server, p.Receiver, p.Salt = [2]byte(next(2)), [2]byte(next(2)), [saltSize]byte(next(saltSize))
		p.Counter = binary.BigEndian.Uint32(next(4))
	}
	if HasSignature(p.Kind) {
		p.Signer = [2]byte(next(2))
	}
	for range names / len(Entry{}) {
		entry := Entry(next(len(Entry{})))
		if p.Kind == KindSigned && entry.Encrypted() {
			return p, Malformed
		}
		entries = append(entries, entry)
	}
	p.Entries = entries
	if HasTag(p.Kind) {
		p.BeforeTag = raw[:len(raw)-len(rest)]
		p.Tag = next(TagSize)
	}
	if HasSignature(p.Kind) {
		p.BeforeSig = raw[:len(raw)-len(rest)]
		p.Signature = next(SignatureSize)
	}
	return p, Sound
}

// AppendProof appends the bytes of which a text is the base64. It looks at the kind, which is in the first four characters, and at the
// length before it decodes the rest.
func AppendProof(dst []byte, from string) ([]byte, Fault) {
	first, exact := AppendExact(dst, from[:min(len(from), 4)])
	switch {
	case !exact || len(first) == len(dst):
		return dst, Malformed
	case !isKnown(first[len(dst)]):
		return dst, UnknownKind
	case len(from) > MaxText:
		return dst, Malformed
	}
	all, exact := AppendExact(dst, from)
	if !exact {
		return dst, Malformed
	}
	return all, Sound
}

var text = base64.RawURLEncoding.Strict()

// AppendText appends the base64 of data.
func AppendText(dst, data []byte) []byte { return text.AppendEncode(dst, data) }

// TextLen is the length of the base64 of n bytes.
func TextLen(n int) int { return text.EncodedLen(n) }

// DataLen is the reverse of TextLen.
func DataLen(n int) int { return text.DecodedLen(n) }

// AppendExact appends what a text is the base64 of. The text must be exactly the encoding.
func AppendExact(dst []byte, from string) ([]byte, bool) {
	// The decoder skips line breaks.
	if strings.ContainsAny(from, "\r\n") {
		return dst, false
	}
	n := len(dst)
	dst = append(dst, make([]byte, text.DecodedLen(len(from)))...)
	written, err := text.Decode(dst[n:], []byte(from))
	return dst[:n+written], err == nil
}

// Secret is what a server and a receiver have in common. It is an error if it would be all zeros.
func Secret(private *ecdh.PrivateKey, public Key) ([]byte, error) {
	other, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return nil, err
	}
	return private.ECDH(other)
}

// AEAD returns the cipher of one salt.
func AEAD(secret []byte, salt [saltSize]byte, server, receiver Key) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, salt[:], context+string(server[:])+string(receiver[:]), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// NonceSize is the size of a nonce, in bytes.
const NonceSize = 12

// Uses of a nonce, its first byte.
const (
	useMessage = 0
	usePayload = 1
)

// putNonce writes a nonce.
func putNonce(dst []byte, use byte, counter uint32) {
	clear(dst[:NonceSize])
	dst[0] = use
	binary.BigEndian.PutUint32(dst[NonceSize-4:], counter)
}

// AppendPayloadTag appends T, which stands for the payload. nonce has room for one.
func AppendPayloadTag(dst []byte, aead cipher.AEAD, nonce []byte, counter uint32, payload []byte) []byte {
	putNonce(nonce, usePayload, counter)
	return aead.Seal(dst, nonce, nil, payload)
}

// AppendSealed appends the ciphertext and the tag of a message.
func AppendSealed(dst []byte, aead cipher.AEAD, nonce []byte, counter uint32, plaintext, additional []byte) []byte {
	putNonce(nonce, useMessage, counter)
	return aead.Seal(dst, nonce, plaintext, additional)
}

// Open is the reverse of AppendSealed.
func Open(dst []byte, aead cipher.AEAD, nonce []byte, counter uint32, sealed, additional []byte) ([]byte, error) {
	putNonce(nonce, useMessage, counter)
	return aead.Open(dst, nonce, sealed, additional)
}

// AppendContext appends what begins the additional data and what is signed.
func AppendContext(dst, before []byte) []byte { return append(append(dst, context...), before...) }

// sealedLength marks the length of an encrypted value in F_mac.
const sealedLength = 1 << 31

// AppendFieldHead appends the beginning of a field.
func AppendFieldHead(dst []byte, name string, values int) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(name)))
	dst = append(dst, name...)
	return binary.BigEndian.AppendUint16(dst, uint16(values))
}

// AppendField appends a field as it is in F_text.
func AppendField(dst []byte, name string, values []string) []byte {
	dst = AppendFieldHead(dst, name, len(values))
	for _, v := range values {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
		dst = append(dst, v...)
	}
	return dst
}

// AppendSealedLength appends what F_mac has of an encrypted value.
func AppendSealedLength(dst []byte, length int) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(length)|sealedLength)
}

// Limits of a field. With more, two different fields could have the same bytes.
const (
	maxName   = 1<<16 - 1
	maxValues = 1<<16 - 1
	maxLength = 1<<31 - 1
)

// Fits reports whether a field can be encoded.
func Fits(name string, values []string) bool {
	if len(name) > maxName || len(values) > maxValues {
		return false
	}
	for _, v := range values {
		if len(v) > maxLength {
			return false
		}
	}
	return true
}

// Field is one of F_text.
type Field struct {
	Name   string
	Values []string
}

// ParseFields takes F_text apart. It fails if text is anything but fields.
func ParseFields(text string) (fields []Field, ok bool) {
	next := func(n int) (part string) {
		if ok = ok && n <= len(text); !ok {
			return ""
		}
		part, text = text[:n], text[n:]
		return part
	}
	number := func(size int) (n int) {
		for _, c := range []byte(next(size)) {
			n = n<<8 | int(c)
		}
		return n
	}
	for ok = true; ok && text != ""; {
		f := Field{Name: next(number(2))}
		values := number(2)
		ok = ok && values > 0 && utf8.ValidString(f.Name)
		for i := 0; ok && i < values; i++ {
			length := number(4)
			ok = ok && length <= maxLength
			value := next(length)
			ok = ok && utf8.ValidString(value)
			f.Values = append(f.Values, value)
		}
		fields = append(fields, f)
	}
	return fields, ok
}
