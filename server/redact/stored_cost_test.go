package redact

import (
	"strings"
	"testing"
)

// A publisher chooses what an answer seems to hold. Whatever that is, the work is linear in the answer's size.
func TestAnswerFieldsAreFoundInLinearTime(t *testing.T) {
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
				fields := newScanner([]byte(answerStart + "," + strings.Repeat(unit, size/len(unit))))
				for _, ok := fields.next(); ok; _, ok = fields.next() {
				}
				if limit := len(answerKeys) * len(fields.answer); fields.visited > limit {
					t.Errorf("%d bytes visited in an answer of %d, expected at most %d", fields.visited, len(fields.answer), limit)
				}
			}
		})
	}
}
