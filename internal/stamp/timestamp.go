package stamp

import (
	"sync/atomic"
	"time"
)

// timeLayout is RFC 3339 in UTC, with nanoseconds and a fixed width.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// wholeSecond is a second and its text.
type wholeSecond struct {
	unix int64 // seconds since 1970
	text [len("2006-01-02T15:04:05.")]byte
}

// lastSecond is the last second that was formatted, by any connection. Formatting
// with a layout takes longer than the rest of a stamp, and the messages of one
// second differ in the fraction only.
var lastSecond atomic.Pointer[wholeSecond]

// appendTime appends t in timeLayout.
func appendTime(dst []byte, t time.Time) []byte {
	unix := t.Unix()
	second := lastSecond.Load()
	if second == nil || second.unix != unix {
		second = &wholeSecond{unix: unix}
		text := t.UTC().AppendFormat(nil, timeLayout)
		if len(text) != len(timeLayout) {
			return append(dst, text...) // a year with more than four digits
		}
		copy(second.text[:], text)
		lastSecond.Store(second)
	}
	dst = append(dst, second.text[:]...)
	const digits = 9
	var fraction [digits + 1]byte
	fraction[digits] = 'Z'
	for i, rest := digits-1, t.Nanosecond(); i >= 0; i, rest = i-1, rest/10 {
		fraction[i] = byte('0' + rest%10)
	}
	return append(dst, fraction[:]...)
}
