package stamp

import (
	"fmt"
	"strings"
	"testing"
)

func benchHeaders(n, size int) []Header {
	headers := make([]Header, n)
	for i := range headers {
		headers[i] = Header{Name: fmt.Sprintf("X-Stamp-%d", i), Values: []string{strings.Repeat("v", size)}}
	}
	return headers
}

func benchBlock(n, size int) []byte {
	var b strings.Builder
	b.WriteString(opening)
	for i := range n {
		fmt.Fprintf(&b, "X-Client-%d: %s\r\n", i, strings.Repeat("v", size))
	}
	b.WriteString(crlf)
	return []byte(b.String())
}

// benchNames returns names with the same prefix as those of the block. Every tenth
// is a pattern.
func benchNames(b *testing.B, n int) *NameSet {
	patterns := make([]string, n)
	for i := range patterns {
		patterns[i] = fmt.Sprintf("X-Client-Name-%d", i)
		if i%10 == 9 {
			patterns[i] += "-*"
		}
	}
	return mustNames(b, patterns...)
}

func benchAppend(b *testing.B, s *Stamp, subject string, block []byte) {
	dst := make([]byte, 0, len(block)+s.MaxLen())
	subj := []byte(subject)
	out, err := s.Append(dst, subj, block)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(out)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(dst, subj, block); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCopy copies the bytes of a result once: no stamp can be faster.
func BenchmarkCopy(b *testing.B) {
	for _, n := range []int{64, 512, 4 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) {
			src, dst := make([]byte, n), make([]byte, 0, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				_ = append(dst, src...)
			}
		})
	}
}

func BenchmarkNoBlock(b *testing.B) {
	for _, n := range []int{1, 4, 64} {
		b.Run(fmt.Sprintf("stamp=%d", n), func(b *testing.B) {
			benchAppend(b, mustCompile(b, benchHeaders(n, 32)), "orders.new", nil)
		})
	}
}

func BenchmarkProvenance(b *testing.B) {
	s, err := Compile(benchHeaders(4, 32), Options{Provenance: true, Account: "APP"})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("stamp=4", func(b *testing.B) { benchAppend(b, s, "orders.new", nil) })
	b.Run("stamp=4/lines=4", func(b *testing.B) { benchAppend(b, s, "orders.new", benchBlock(4, 32)) })
}

func BenchmarkBlock(b *testing.B) {
	for _, n := range []int{0, 1, 4, 16, 50} {
		b.Run(fmt.Sprintf("stamp=4/lines=%d", n), func(b *testing.B) {
			benchAppend(b, mustCompile(b, benchHeaders(4, 32)), "orders.new", benchBlock(n, 32))
		})
	}
	b.Run("stamp=64/lines=16", func(b *testing.B) {
		benchAppend(b, mustCompile(b, benchHeaders(64, 32)), "orders.new", benchBlock(16, 32))
	})
	b.Run("stamp=1/forged=16", func(b *testing.B) {
		block := opening + strings.Repeat("x_stamp.0: forged\r\nX-Client: kept\r\n", 16) + crlf
		benchAppend(b, mustCompile(b, benchHeaders(1, 32)), "orders.new", []byte(block))
	})
	b.Run("stamp=1/value=16KB", func(b *testing.B) {
		benchAppend(b, mustCompile(b, benchHeaders(1, 32)), "orders.new", benchBlock(1, 16<<10))
	})
	b.Run("stamp=1/utf8=16KB", func(b *testing.B) {
		block := opening + "A: " + strings.Repeat("ü", 8<<10) + crlf + crlf
		benchAppend(b, mustCompile(b, benchHeaders(1, 32)), "orders.new", []byte(block))
	})
}

func BenchmarkStrip(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("names=%d/lines=4", n), func(b *testing.B) {
			benchAppend(b, mustCompile(b, benchHeaders(4, 32), benchNames(b, n)), "orders.new", benchBlock(4, 32))
		})
	}
}

func BenchmarkSubjects(b *testing.B) {
	for _, filter := range []string{"orders.new", "orders.*", "orders.>", "other.>"} {
		b.Run(filter, func(b *testing.B) {
			headers := benchHeaders(4, 32)
			headers[1].Subjects = []string{filter}
			benchAppend(b, mustCompile(b, headers), "orders.new", nil)
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	set := benchNames(b, 1000)
	for _, n := range []int{1, 4, 64} {
		b.Run(fmt.Sprintf("stamp=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			headers := benchHeaders(n, 32)
			keep := mustCompile(b, headers, set)
			for b.Loop() {
				if s, err := Compile(headers, Options{Strip: []*NameSet{set}}); err != nil || s != keep {
					b.Fatal(err)
				}
			}
		})
	}
}
