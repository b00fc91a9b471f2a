package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"slices"
)

// Types of keys of nkeys. The types are the first five bits of an encoded key.
const (
	typeCurve  = 23 << 3 // X
	typeServer = 13 << 3 // N
	typeSeed   = 18 << 3 // S
)

const keySize = 32

// Key is a public key, as it is in computations.
type Key [keySize]byte

// ID returns the id of the key, which is in proofs.
func (k Key) ID() [2]byte {
	sum := sha256.Sum256(k[:])
	return [2]byte(sum[:2])
}

// Faults of a key. They never quote it, since a seed may stand where a public key belongs.
var (
	errKey  = errors.New("expected a key of nkeys: capital letters and digits with a valid checksum")
	errType = errors.New("the key is of another type")
	errWeak = errors.New("the key is of small order, so that anybody could sign for it, or is not canonically encoded")
)

// ParseCurve decodes the public key of a pair for X25519 (X...).
func ParseCurve(text string) (Key, error) { return parsePublic(text, typeCurve) }

// ParseServer decodes the public key of a pair for Ed25519 of a server (N...). It takes no key that is weak.
func ParseServer(text string) (Key, error) {
	key, err := parsePublic(text, typeServer)
	if err == nil && isWeak(key) {
		err = errWeak
	}
	return key, err
}

// fieldPrime is 2^255-19, big-endian.
var fieldPrime = append(append([]byte{0x7f}, bytes.Repeat([]byte{0xff}, keySize-2)...), 0xed)

// smallOrders are y of the points of Ed25519 of small order, big-endian: order 4, 1, 2, and twice 8.
var smallOrders = []Key{
	{},
	{keySize - 1: 1},
	Key(append(append([]byte{0x7f}, bytes.Repeat([]byte{0xff}, keySize-2)...), 0xec)),
	{
		0x05, 0xfc, 0x53, 0x6d, 0x88, 0x02, 0x38, 0xb1, 0x39, 0x33, 0xc6, 0xd3, 0x05, 0xac, 0xdf, 0xd5,
		0xf0, 0x98, 0xef, 0xf2, 0x89, 0xf4, 0xc3, 0x45, 0xb0, 0x27, 0xb2, 0xc2, 0x8f, 0x95, 0xe8, 0x26,
	},
	{
		0x7a, 0x03, 0xac, 0x92, 0x77, 0xfd, 0xc7, 0x4e, 0xc6, 0xcc, 0x39, 0x2c, 0xfa, 0x53, 0x20, 0x2a,
		0x0f, 0x67, 0x10, 0x0d, 0x76, 0x0b, 0x3c, 0xba, 0x4f, 0xd8, 0x4d, 0x3d, 0x70, 0x6a, 0x17, 0xc7,
	},
}

// isWeak reports whether a public key for Ed25519 is of small order, or not the canonical encoding of a point. Libraries do not agree
// on the latter, and no server has such a key.
func isWeak(key Key) bool {
	y := key
	slices.Reverse(y[:])
	y[0] &= 0x7f // the sign of x
	return slices.Compare(y[:], fieldPrime) >= 0 || slices.Contains(smallOrders, y)
}

// ParseCurveSeed decodes a private key for X25519 (SX...).
func ParseCurveSeed(text string) (*ecdh.PrivateKey, error) {
	seed, err := parseSeed(text, typeCurve)
	if err != nil {
		return nil, err
	}
	return ecdh.X25519().NewPrivateKey(seed[:])
}

// ParseServerSeed decodes a private key for Ed25519 of a server (SN...).
func ParseServerSeed(text string) (ed25519.PrivateKey, error) {
	seed, err := parseSeed(text, typeServer)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed[:]), nil
}

// EncodeCurve is the reverse of ParseCurve.
func EncodeCurve(key Key) string { return encode(append([]byte{typeCurve}, key[:]...)) }

// EncodeServer is the reverse of ParseServer.
func EncodeServer(key Key) string { return encode(append([]byte{typeServer}, key[:]...)) }

// EncodeCurveSeed is the reverse of ParseCurveSeed.
func EncodeCurveSeed(seed [keySize]byte) string { return encodeSeed(seed, typeCurve) }

// EncodeServerSeed is the reverse of ParseServerSeed.
func EncodeServerSeed(seed [keySize]byte) string { return encodeSeed(seed, typeServer) }

func parsePublic(text string, kind byte) (key Key, err error) {
	raw, err := decode(text)
	switch {
	case err != nil:
		return key, err
	case len(raw) != 1+keySize:
		return key, errKey
	case raw[0] != kind:
		return key, errType
	}
	return Key(raw[1:]), nil
}

// A seed has ten bits of types: that of seeds, and that of its public key.
func parseSeed(text string, kind byte) (seed [keySize]byte, err error) {
	raw, err := decode(text)
	switch {
	case err != nil:
		return seed, err
	case len(raw) != 2+keySize:
		return seed, errKey
	case raw[0] != typeSeed|kind>>5 || raw[1] != kind<<3:
		return seed, errType
	}
	return [keySize]byte(raw[2:]), nil
}

func encodeSeed(seed [keySize]byte, kind byte) string {
	return encode(append([]byte{typeSeed | kind>>5, kind << 3}, seed[:]...))
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// decode returns the bytes of an encoded key without the checksum. It takes only what encode makes.
func decode(text string) ([]byte, error) {
	const longest = 58 // a seed
	if len(text) > longest {
		return nil, errKey
	}
	raw, err := encoding.DecodeString(text)
	if err != nil || len(raw) < 2 {
		return nil, errKey
	}
	body := raw[:len(raw)-2]
	if encode(body[:len(body):len(body)]) != text {
		return nil, errKey
	}
	return body, nil
}

func encode(body []byte) string {
	sum := crc16(body)
	return encoding.EncodeToString(append(body, byte(sum), byte(sum>>8)))
}

// crc16 is the checksum of nkeys, CRC-16/XMODEM.
func crc16(data []byte) (sum uint16) {
	for _, b := range data {
		sum ^= uint16(b) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}
