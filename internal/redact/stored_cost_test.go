package redact

import (
	"encoding/base64"
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

// An answer that loses nothing is not copied, however many fields it has.
func TestAnswerIsCopiedOnlyIfItIsCut(t *testing.T) {
	seal := mustSeal(t)
	for name, value := range map[string]string{
		"empty": "", "no block": "AAAA", "shown": base64.StdEncoding.EncodeToString([]byte("NATS/1.0\r\nA: b\r\n\r\n")),
	} {
		t.Run(name, func(t *testing.T) {
			answer := []byte(answerStart + `,` + strings.Repeat(blockKey+value+`",`, 1000) + `"time":""}`)
			if out, cut := StoredAnswer(seal, answer); out != nil || cut != 0 {
				t.Fatalf("%d lines were cut, %d bytes are left", cut, len(out))
			}
			// The scanner, and what a value is decoded into.
			if n := testing.AllocsPerRun(10, func() { StoredAnswer(seal, answer) }); n > 2 {
				t.Errorf("an answer that is not cut allocates %v times, want twice at most", n)
			}
		})
	}
}
