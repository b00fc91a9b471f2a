// Package maker makes proofs of fields as they are given, also such as no server makes. Package stamptest makes those that a
// server makes.
package maker

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"stamp.example/receivers/go/internal/wire"
)

// Input is what a proof is made of. What the kind does not need may be missing.
type Input struct {
	Kind      byte
	CurveSeed string // of the server, SX...
	SignSeed  string // of the server, SN...
	Receiver  string // public key of the receiver, X...
	Salt      [16]byte
	Counter   uint32
	Fields    []Field // provenance first
	Payload   []byte
}

// Field is a header that is proven. Make replaces the values that are sealed by the encrypted ones.
type Field struct {
	Name   string
	Values []string
	Sealed bool
	Bare   bool // without an entry, as provenance
}

// Make returns the bytes of a proof.
func Make(in Input) (proof []byte, err error) {
	if proof, err = in.head(); err != nil {
		return nil, err
	}
	if wire.HasTag(in.Kind) {
		if proof, err = in.seal(proof); err != nil {
			return nil, err
		}
	}
	if wire.HasSignature(in.Kind) {
		key, err := wire.ParseServerSeed(in.SignSeed)
		if err != nil {
			return nil, fmt.Errorf("seed of the server for Ed25519: %w", err)
		}
		proof = append(proof, ed25519.Sign(key, in.text(proof))...)
	}
	return proof, nil
}

// head returns the bytes of a proof before the tag and the signature.
func (in *Input) head() ([]byte, error) {
	proof := []byte{in.Kind}
	if wire.HasTag(in.Kind) {
		server, err := wire.ParseCurveSeed(in.CurveSeed)
		if err != nil {
			return nil, fmt.Errorf("seed of the server for X25519: %w", err)
		}
		receiver, err := wire.ParseCurve(in.Receiver)
		if err != nil {
			return nil, fmt.Errorf("public key of the receiver: %w", err)
		}
		serverID, receiverID := publicOf(server).ID(), receiver.ID()
		proof = append(append(append(proof, serverID[:]...), receiverID[:]...), in.Salt[:]...)
		proof = binary.BigEndian.AppendUint32(proof, in.Counter)
	}
	if wire.HasSignature(in.Kind) {
		key, err := wire.ParseServerSeed(in.SignSeed)
		if err != nil {
			return nil, fmt.Errorf("seed of the server for Ed25519: %w", err)
		}
		id := wire.Key(key.Public().(ed25519.PublicKey)).ID()
		proof = append(proof, id[:]...)
	}
	for _, f := range in.Fields {
		if f.Bare {
			continue
		}
		entry := wire.EntryOf(wire.Fold(f.Name))
		if f.Sealed {
			entry = entry.Sealed()
		}
		proof = append(proof, entry[:]...)
	}
	return proof, nil
}

// seal encrypts the values that are to be, in their places, and appends the tag to the proof.
func (in *Input) seal(proof []byte) ([]byte, error) {
	server, err := wire.ParseCurveSeed(in.CurveSeed)
	if err != nil {
		return nil, err
	}
	receiver, err := wire.ParseCurve(in.Receiver)
	if err != nil {
		return nil, err
	}
	secret, err := wire.Secret(server, receiver)
	if err != nil {
		return nil, err
	}
	aead, err := wire.AEAD(secret, in.Salt, publicOf(server), receiver)
	if err != nil {
		return nil, err
	}
	var plain []byte
	additional := wire.AppendContext(nil, proof)
	for _, f := range in.Fields {
		if !f.Sealed {
			additional = wire.AppendField(additional, f.Name, f.Values)
			continue
		}
		additional = wire.AppendFieldHead(additional, f.Name, len(f.Values))
		for _, v := range f.Values {
			additional = wire.AppendSealedLength(additional, len(v))
			plain = append(plain, v...)
		}
	}
	nonce := make([]byte, wire.NonceSize)
	additional = wire.AppendPayloadTag(additional, aead, nonce, in.Counter, in.Payload)
	sealed := wire.AppendSealed(nil, aead, nonce, in.Counter, plain, additional)
	for _, f := range in.Fields {
		if !f.Sealed {
			continue
		}
		for i, v := range f.Values {
			f.Values[i], sealed = string(wire.AppendText(nil, sealed[:len(v)])), sealed[len(v):]
		}
	}
	return append(proof, sealed...), nil
}

// text returns what is signed.
func (in *Input) text(proof []byte) []byte {
	text := wire.AppendContext(nil, proof)
	for _, f := range in.Fields {
		text = wire.AppendField(text, f.Name, f.Values)
	}
	sum := sha256.Sum256(in.Payload)
	return append(text, sum[:]...)
}

func publicOf(private *ecdh.PrivateKey) wire.Key { return wire.Key(private.PublicKey().Bytes()) }
