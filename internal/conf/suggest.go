package conf

import (
	"fmt"
	"strings"
)

// suggest says which field an unknown one may be meant to be: the nearest one, or all
// if none is near.
func suggest(unknown string, names []string) string {
	for _, name := range names {
		if isNear(strings.ToLower(unknown), name) {
			return fmt.Sprintf("did you mean %q?", name)
		}
	}
	return "expected one of " + strings.Join(names, ", ")
}

// isNear reports whether a becomes b by one change: a byte more, less or other, or two
// neighbours exchanged.
func isNear(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b) < 4 || len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if i == len(a) || a[i+1:] == b[i+1:] {
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
