// Package bytes is the standard library's as far as the server's packages use it; what it visits is counted.
package bytes

import (
	std "bytes"
	"iter"

	"stamp/test/cost/counted"
)

func Index(s []byte, sep []byte) int { return counted.Visit(std.Index(s, sep), len(s)) }

func IndexByte(s []byte, c byte) int { return counted.Visit(std.IndexByte(s, c), len(s)) }

func IndexAny(s []byte, chars string) int { return counted.Visit(std.IndexAny(s, chars), len(s)) }

func LastIndexByte(s []byte, c byte) int { return counted.Visit(std.LastIndexByte(s, c), len(s)) }

func IndexFunc(s []byte, f func(rune) bool) int { return counted.Visit(std.IndexFunc(s, f), len(s)) }

func Contains(s []byte, sub []byte) bool {
	counted.All(len(s))
	return std.Contains(s, sub)
}

func ContainsAny(s []byte, chars string) bool {
	counted.All(len(s))
	return std.ContainsAny(s, chars)
}

func ContainsRune(s []byte, r rune) bool {
	counted.All(len(s))
	return std.ContainsRune(s, r)
}

func ContainsFunc(s []byte, f func(rune) bool) bool {
	counted.All(len(s))
	return std.ContainsFunc(s, f)
}

func Count(s []byte, sep []byte) int {
	counted.All(len(s))
	return std.Count(s, sep)
}

func EqualFold(s []byte, t []byte) bool {
	counted.All(len(s))
	return std.EqualFold(s, t)
}

func Fields(s []byte) [][]byte {
	counted.All(len(s))
	return std.Fields(s)
}

func FieldsFunc(s []byte, f func(rune) bool) [][]byte {
	counted.All(len(s))
	return std.FieldsFunc(s, f)
}

func Split(s []byte, sep []byte) [][]byte {
	counted.All(len(s))
	return std.Split(s, sep)
}

func SplitN(s []byte, sep []byte, n int) [][]byte {
	counted.All(len(s))
	return std.SplitN(s, sep, n)
}

func SplitAfter(s []byte, sep []byte) [][]byte {
	counted.All(len(s))
	return std.SplitAfter(s, sep)
}

func ToLower(s []byte) []byte {
	counted.All(len(s))
	return std.ToLower(s)
}

func ToUpper(s []byte) []byte {
	counted.All(len(s))
	return std.ToUpper(s)
}

func Repeat(s []byte, n int) []byte {
	counted.All(len(s))
	return std.Repeat(s, n)
}

func Trim(s []byte, cutset string) []byte {
	counted.All(len(s))
	return std.Trim(s, cutset)
}

func TrimSpace(s []byte) []byte {
	counted.All(len(s))
	return std.TrimSpace(s)
}

func TrimFunc(s []byte, f func(rune) bool) []byte {
	counted.All(len(s))
	return std.TrimFunc(s, f)
}

func TrimLeft(s []byte, cutset string) []byte {
	counted.All(len(s))
	return std.TrimLeft(s, cutset)
}

func TrimRight(s []byte, cutset string) []byte {
	counted.All(len(s))
	return std.TrimRight(s, cutset)
}

func Clone(s []byte) []byte {
	counted.All(len(s))
	return std.Clone(s)
}

func ReplaceAll(s []byte, old, with []byte) []byte {
	counted.All(len(s))
	return std.ReplaceAll(s, old, with)
}

func Replace(s []byte, old, with []byte, n int) []byte {
	counted.All(len(s))
	return std.Replace(s, old, with, n)
}

func ToValidUTF8(s []byte, with []byte) []byte {
	counted.All(len(s))
	return std.ToValidUTF8(s, with)
}

func HasPrefix(s, part []byte) bool {
	counted.All(min(len(s), len(part)))
	return std.HasPrefix(s, part)
}

func HasSuffix(s, part []byte) bool {
	counted.All(min(len(s), len(part)))
	return std.HasSuffix(s, part)
}

func TrimPrefix(s, part []byte) []byte {
	counted.All(min(len(s), len(part)))
	return std.TrimPrefix(s, part)
}

func TrimSuffix(s, part []byte) []byte {
	counted.All(min(len(s), len(part)))
	return std.TrimSuffix(s, part)
}

func CutPrefix(s, part []byte) ([]byte, bool) {
	counted.All(min(len(s), len(part)))
	return std.CutPrefix(s, part)
}

func CutSuffix(s, part []byte) ([]byte, bool) {
	counted.All(min(len(s), len(part)))
	return std.CutSuffix(s, part)
}

func Cut(s, sep []byte) (before, after []byte, found bool) {
	before, after, found = std.Cut(s, sep)
	counted.All(len(before) + len(sep))
	return before, after, found
}

func SplitSeq(s, sep []byte) iter.Seq[[]byte] {
	counted.All(len(s))
	return std.SplitSeq(s, sep)
}

func Map(f func(rune) rune, s []byte) []byte {
	counted.All(len(s))
	return std.Map(f, s)
}

func Join(parts [][]byte, sep []byte) []byte {
	joined := std.Join(parts, sep)
	counted.All(len(joined))
	return joined
}

func Equal(a, b []byte) bool {
	counted.All(min(len(a), len(b)))
	return std.Equal(a, b)
}

type (
	Buffer = std.Buffer
	Reader = std.Reader
)

var (
	NewReader       = std.NewReader
	NewBuffer       = std.NewBuffer
	NewBufferString = std.NewBufferString
)
