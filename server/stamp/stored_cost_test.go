package stamp

import (
	"strings"
	"testing"
)

// Whoever publishes chooses what an answer seems to hold: the work is linear in its size, whatever
// that is.
func TestStoredFieldsAreFoundInLinearTime(t *testing.T) {
	for name, unit := range map[string]string{
		"blocks":          blockKey + `",`,
		"open blocks":     blockKey,
		"nested answers":  nestedKey + `",`,
		"both, in turn":   blockKey + `",` + nestedKey + `",`,
		"other fields":    `"xxxx":"",`,
		"almost a key":    `"hdrs":,`,
		"quotes":          `"`,
		"keys in a value": blockKey + nestedKey,
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1 << 12, 1 << 14, 1 << 16} {
				fields := newStoredFields([]byte(storedType + "," + strings.Repeat(unit, size/len(unit))))
				for _, ok := fields.next(); ok; _, ok = fields.next() {
				}
				if limit := len(storedKeys) * len(fields.payload); fields.visited > limit {
					t.Errorf("%d bytes visited in an answer of %d, expected at most %d", fields.visited, len(fields.payload), limit)
				}
			}
		})
	}
}
