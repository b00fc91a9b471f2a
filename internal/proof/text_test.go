package proof

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

// TestText compares the texts with those of encoding/base64: all lengths up to some of long values, and all values of each byte.
func TestText(t *testing.T) {
	random := rand.New(rand.NewChaCha8([32]byte{}))
	for size := range 300 {
		src := make([]byte, size)
		for range 100 {
			for i := range src {
				src[i] = byte(random.Uint32())
			}
			want := base64.RawURLEncoding.AppendEncode([]byte("before"), src)
			if got := appendText([]byte("before"), src); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes %x: the text is %q, want %q", size, src, got, want)
			}
		}
	}
}

// TestTextEnds: what comes after the place of a text stays, since values are encoded into the middle of a header block.
func TestTextEnds(t *testing.T) {
	const after = "\r\nX-User: alice\r\n"
	for size := range 64 {
		dst := append(make([]byte, EncryptedLen(size)), after...)
		encodeText(dst, bytes.Repeat([]byte{0xa5}, size))
		if got := string(dst[EncryptedLen(size):]); got != after {
			t.Errorf("%d bytes: after the text is %q, want %q", size, got, after)
		}
	}
}
