// Package proof makes the proofs of messages: the header Stamp-Proof, with which a
// message shows that a server stamped it, on which subject, when, and with which
// payload. docs/proofs.md has the format. The package works on bytes and knows
// nothing of servers.
//
// A Prover makes the proofs of one connection. What its messages have in common is
// compiled into a Layout, which connections with equal headers share.
//
// # Nonces
//
// AES-GCM breaks if two messages are encrypted with one key and one nonce. That
// cannot happen here, for these reasons:
//   - A key is derived from a salt of 16 random bytes. Each Prover draws its own when
//     it makes its first proof, and no salt is stored anywhere. So no two Provers have
//     the same key: not before and after a restart, a reload, a renewal or a
//     reconnect, and not in two servers, even if they have the same key file. After
//     2^40 salts, the probability that any two of them are equal is 2^-49.
//   - The nonces of one salt differ in a counter, which each message takes atomically.
//     So it does not matter how many connections and goroutines use one Prover. When
//     the 32 bits of the counter are used up, the Prover draws a new salt, and so has
//     a new key.
//   - A message needs two nonces, for its payload and for its fields. They differ in
//     the first byte.
//
// What this cannot cover is a copy of the memory of a running server: if a virtual
// machine is resumed twice from one snapshot, both copies continue with the same salt
// and counter, for connections that were open when the snapshot was taken.
package proof

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Names of the headers that every proof covers, and of the header of the proof.
const (
	AccountName = "Stamp-Account"
	SubjectName = "Stamp-Subject"
	TimeName    = "Stamp-Time"
	Name        = "Stamp-Proof"
)

// Kind is a kind of proof.
type Kind byte

// Kinds of proof.
const (
	None              Kind = iota
	ForReceiver            // a MAC, which the receiver alone can check
	Signed                 // a signature, which everybody can check
	SignedForReceiver      // both
)

const (
	label     = "stamp proof v1"
	saltSize  = 16
	tagSize   = 16
	nonceSize = 12
	crlf      = "\r\n"
)

// First bytes of the two nonces of a message.
const (
	nonceOfFields  = 0
	nonceOfPayload = 1
)

// Prover makes the proofs of one connection. Its methods may be called by many
// goroutines at the same time. A Prover that has not made a proof holds no key.
type Prover struct {
	keys     *Keys
	receiver *Receiver // nil: all proofs are signatures

	current atomic.Pointer[epoch]
	mu      sync.Mutex // held while current is replaced
}

// epoch is the time for which a Prover uses one salt.
type epoch struct {
	salt [saltSize]byte
	aead cipher.AEAD
	next atomic.Uint64 // the next counter; from 2^32 on the epoch is over
}

// NewProver returns a prover that uses keys. receiver is whoever can check its
// proofs, or nil if all of them are signatures.
func NewProver(keys *Keys, receiver *Receiver) *Prover {
	return &Prover{keys: keys, receiver: receiver}
}

// take returns an epoch and a counter that no other message has in this epoch.
func (p *Prover) take() (*epoch, uint32, error) {
	for {
		e := p.current.Load()
		if e != nil {
			if n := e.next.Add(1) - 1; n <= math.MaxUint32 {
				return e, uint32(n), nil
			}
		}
		if err := p.replace(e); err != nil {
			return nil, 0, err
		}
	}
}

// replace puts a new epoch into the place of old, unless that has been done.
func (p *Prover) replace(old *epoch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current.Load() != old {
		return nil
	}
	e := &epoch{}
	rand.Read(e.salt[:]) // never fails
	aead, err := p.receiver.aead(e.salt[:])
	if err != nil {
		return err
	}
	e.aead = aead
	p.current.Store(e)
	return nil
}

// Message is a message that is proven.
type Message struct {
	// Lines is where the stamped lines, without those of provenance, begin in the
	// header block. In the place of an encrypted value there are EncryptedLen bytes.
	Lines int
	// Parts says for each part of the lines (Header.Part) where it begins in the stamped
	// lines, or has -1 if the message does not have it. Nil: all parts are there.
	Parts []int

	Subject, Time []byte // values of the headers of provenance
	Sign          bool   // the proof shall be a signature
}

// scratch is the memory that one proof needs.
type scratch struct {
	bytes  []byte // what is authenticated
	values []byte // that are encrypted
	nonce  [nonceSize]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxScratch is the largest buffer, in bytes, that goes back to the pool.
const maxScratch = 64 << 10

func (s *scratch) release() {
	if cap(s.bytes) <= maxScratch && cap(s.values) <= maxScratch {
		scratches.Put(s)
	}
}

// Append appends the line Stamp-Proof to dst, a header block without its blank line
// that was made as l says, and encrypts the values in it. It returns the kind of the
// proof, None if it has appended nothing. After an error, dst must not be used. The
// payload is no field of Message, since the compiler would then allocate Parts for each
// message.
//
// It does not allocate if dst has room for l.MaxLen() more bytes, except for a
// signature and for the first proof of p.
func (p *Prover) Append(dst []byte, l *Layout, m *Message, payload []byte) ([]byte, Kind, error) {
	kind := p.kind(l, m)
	if kind == None {
		return dst, kind, nil
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	b := append(s.bytes[:0], label...)
	b = append(b, byte(kind))
	var e *epoch
	if kind != Signed {
		var counter uint32
		var err error
		if e, counter, err = p.take(); err != nil {
			return dst, None, err
		}
		b = append(b, p.keys.exchangeID[:]...)
		b = append(b, p.receiver.id[:]...)
		b = append(b, e.salt[:]...)
		b = binary.BigEndian.AppendUint32(b, counter)
		binary.BigEndian.PutUint32(s.nonce[nonceSize-4:], counter)
	}
	if kind != ForReceiver {
		b = append(b, p.keys.signingID[:]...)
	}
	b = l.appendEntries(b, m)
	if kind != Signed {
		b = s.encrypt(b, e.aead, dst[m.Lines:], l, m, payload)
	}
	if kind != ForReceiver {
		end := len(b)
		b = l.appendText(b, dst[m.Lines:], m)
		digest := sha256.Sum256(payload)
		b = append(b, digest[:]...)
		b = append(b[:end], p.keys.sign(b)...)
	}
	s.bytes = b
	dst = append(dst, Name+": "...)
	dst = appendText(dst, b[len(label):])
	return append(dst, crlf...), kind, nil
}

// kind returns the kind of the proof that a message gets.
func (p *Prover) kind(l *Layout, m *Message) Kind {
	switch {
	case m.Sign && p.receiver != nil && l.encrypts(m):
		return SignedForReceiver
	case m.Sign:
		return Signed
	case p.receiver != nil:
		return ForReceiver
	}
	return None
}

// encrypt appends the tag to b, which has all bytes of the proof before the tag, and
// puts the encrypted values into lines.
func (s *scratch) encrypt(b []byte, aead cipher.AEAD, lines []byte, l *Layout, m *Message, payload []byte) []byte {
	end := len(b)
	b = l.appendMAC(b, m)
	s.nonce[0] = nonceOfPayload
	b = aead.Seal(b, s.nonce[:], nil, payload)
	s.nonce[0] = nonceOfFields
	s.values = l.appendPlain(slices.Grow(s.values[:0], l.encryptedLen+tagSize), m)
	size := len(s.values)
	s.values = aead.Seal(s.values[:0], s.nonce[:], s.values, b)
	if size > 0 {
		l.putValues(lines, s.values[:size], m)
	}
	return append(b[:end], s.values[size:]...)
}
