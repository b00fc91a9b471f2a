// Package counted counts the bytes that searches visit. The packages below it stand for the standard library's of the
// same name in a build that is made to be measured: see package cost.
package counted

// Bytes is how many were visited. The program that is measured has one goroutine.
var Bytes int

// Visit notes a search in n bytes that ended at index at, or found nothing when that is negative.
func Visit(at, n int) int {
	if at < 0 || at > n {
		Bytes += n
	} else {
		Bytes += at + 1
	}
	return at
}

// All notes that n bytes were visited.
func All(n int) { Bytes += n }
