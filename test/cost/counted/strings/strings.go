// Package strings is the standard library's as far as the server's packages use it; what it visits is counted.
package strings

import (
	"iter"
	std "strings"

	"stamp/test/cost/counted"
)

func Index(s string, sep string) int { return counted.Visit(std.Index(s, sep), len(s)) }

func IndexByte(s string, c byte) int { return counted.Visit(std.IndexByte(s, c), len(s)) }

func IndexAny(s string, chars string) int { return counted.Visit(std.IndexAny(s, chars), len(s)) }

func LastIndexByte(s string, c byte) int { return counted.Visit(std.LastIndexByte(s, c), len(s)) }

func LastIndexAny(s string, chars string) int {
	at := std.LastIndexAny(s, chars)
	counted.All(len(s) - max(at, 0))
	return at
}

func IndexFunc(s string, f func(rune) bool) int { return counted.Visit(std.IndexFunc(s, f), len(s)) }

func Compare(a, b string) int {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	counted.Visit(at, len(a))
	return std.Compare(a, b)
}

func Contains(s string, sub string) bool {
	counted.All(len(s))
	return std.Contains(s, sub)
}

func ContainsAny(s string, chars string) bool {
	counted.All(len(s))
	return std.ContainsAny(s, chars)
}

func ContainsRune(s string, r rune) bool {
	counted.All(len(s))
	return std.ContainsRune(s, r)
}

func ContainsFunc(s string, f func(rune) bool) bool {
	counted.All(len(s))
	return std.ContainsFunc(s, f)
}

func Count(s string, sep string) int {
	counted.All(len(s))
	return std.Count(s, sep)
}

func EqualFold(s string, t string) bool {
	counted.All(len(s))
	return std.EqualFold(s, t)
}

func Fields(s string) []string {
	counted.All(len(s))
	return std.Fields(s)
}

func FieldsFunc(s string, f func(rune) bool) []string {
	counted.All(len(s))
	return std.FieldsFunc(s, f)
}

func Split(s string, sep string) []string {
	counted.All(len(s))
	return std.Split(s, sep)
}

func SplitN(s string, sep string, n int) []string {
	counted.All(len(s))
	return std.SplitN(s, sep, n)
}

func SplitAfter(s string, sep string) []string {
	counted.All(len(s))
	return std.SplitAfter(s, sep)
}

func ToLower(s string) string {
	counted.All(len(s))
	return std.ToLower(s)
}

func ToUpper(s string) string {
	counted.All(len(s))
	return std.ToUpper(s)
}

func Repeat(s string, n int) string {
	counted.All(len(s))
	return std.Repeat(s, n)
}

func Trim(s string, cutset string) string {
	counted.All(len(s))
	return std.Trim(s, cutset)
}

func TrimSpace(s string) string {
	counted.All(len(s))
	return std.TrimSpace(s)
}

func TrimFunc(s string, f func(rune) bool) string {
	counted.All(len(s))
	return std.TrimFunc(s, f)
}

func TrimLeft(s string, cutset string) string {
	counted.All(len(s))
	return std.TrimLeft(s, cutset)
}

func TrimRight(s string, cutset string) string {
	counted.All(len(s))
	return std.TrimRight(s, cutset)
}

func Clone(s string) string {
	counted.All(len(s))
	return std.Clone(s)
}

func ReplaceAll(s string, old, with string) string {
	counted.All(len(s))
	return std.ReplaceAll(s, old, with)
}

func Replace(s string, old, with string, n int) string {
	counted.All(len(s))
	return std.Replace(s, old, with, n)
}

func ToValidUTF8(s string, with string) string {
	counted.All(len(s))
	return std.ToValidUTF8(s, with)
}

func HasPrefix(s, part string) bool {
	counted.All(min(len(s), len(part)))
	return std.HasPrefix(s, part)
}

func HasSuffix(s, part string) bool {
	counted.All(min(len(s), len(part)))
	return std.HasSuffix(s, part)
}

func TrimPrefix(s, part string) string {
	counted.All(min(len(s), len(part)))
	return std.TrimPrefix(s, part)
}

func TrimSuffix(s, part string) string {
	counted.All(min(len(s), len(part)))
	return std.TrimSuffix(s, part)
}

func CutPrefix(s, part string) (string, bool) {
	counted.All(min(len(s), len(part)))
	return std.CutPrefix(s, part)
}

func CutSuffix(s, part string) (string, bool) {
	counted.All(min(len(s), len(part)))
	return std.CutSuffix(s, part)
}

func Cut(s, sep string) (before, after string, found bool) {
	before, after, found = std.Cut(s, sep)
	counted.All(len(before) + len(sep))
	return before, after, found
}

func SplitSeq(s, sep string) iter.Seq[string] {
	counted.All(len(s))
	return std.SplitSeq(s, sep)
}

func Map(f func(rune) rune, s string) string {
	counted.All(len(s))
	return std.Map(f, s)
}

func Join(parts []string, sep string) string {
	joined := std.Join(parts, sep)
	counted.All(len(joined))
	return joined
}

type (
	Builder  = std.Builder
	Reader   = std.Reader
	Replacer = std.Replacer
)

var (
	NewReader   = std.NewReader
	NewReplacer = std.NewReplacer
)
