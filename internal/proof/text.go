package proof

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// text is the encoding of proofs and of encrypted values.
var text = base64.RawURLEncoding

// EncryptedLen returns the length of the text that stands for an encrypted value of n bytes.
func EncryptedLen(n int) int { return text.EncodedLen(n) }

// pairs has the two characters that stand for each 12 bits, the first one in the lower byte.
var pairs = func() (pairs [1 << 12]uint16) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range pairs {
		pairs[i] = uint16(alphabet[i>>6]) | uint16(alphabet[i&63])<<8
	}
	return pairs
}()

// encodeText does the same as text.Encode, in about 60% of the time, since it looks up two characters at once. With
// text.Encode, a message with encrypted values spent a quarter of its time there. The table tells nothing to whoever
// can measure which parts of it are in the cache, since the texts are public.
func encodeText(dst, src []byte) {
	for len(src) >= 8 && len(dst) >= 8 {
		v := binary.BigEndian.Uint64(src) // six bytes of it are encoded
		binary.LittleEndian.PutUint64(dst, uint64(pairs[v>>52])|uint64(pairs[v>>40&0xfff])<<16|uint64(pairs[v>>28&0xfff])<<32|uint64(pairs[v>>16&0xfff])<<48)
		src, dst = src[6:], dst[8:]
	}
	text.Encode(dst, src)
}

// appendText appends the text of src.
func appendText(dst, src []byte) []byte {
	size, start := text.EncodedLen(len(src)), len(dst)
	dst = slices.Grow(dst, size)[:start+size]
	encodeText(dst[start:], src)
	return dst
}
