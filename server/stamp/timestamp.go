package stamp

import (
	"sync/atomic"
	"time"
)

// timeForm is RFC 3339 in UTC with nanoseconds, of fixed width.
const timeForm = "2006-01-02T15:04:05.000000000Z"

// wholeSecond is a second since 1970, and the part of its timeForm before the fraction.
type wholeSecond struct {
	unix int64
	text [len("2006-01-02T15:04:05.")]byte
}

// lastSecond is the second that was formatted last, by any connection. Formatting by a layout takes more time than
// the rest of a stamp, and messages of one second share all but the fraction.
var lastSecond atomic.Pointer[wholeSecond]

// appendTime appends t in timeForm.
func appendTime(dst []byte, t time.Time) []byte {
	unix := t.Unix()
	second := lastSecond.Load()
	if second == nil || second.unix != unix {
		second = &wholeSecond{unix: unix}
		text := t.UTC().AppendFormat(nil, timeForm)
		if len(text) != len(timeForm) {
			return append(dst, text...) // a year of more than four digits
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
