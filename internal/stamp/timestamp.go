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

// now is the clock. Tests replace it.
var now = time.Now

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
	return appendFraction(dst, uint32(t.Nanosecond()))
}

// digitPairs are the numbers 00 to 99 in a row.
const digitPairs = "00010203040506070809101112131415161718192021222324" +
	"25262728293031323334353637383940414243444546474849" +
	"50515253545556575859606162636465666768697071727374" +
	"75767778798081828384858687888990919293949596979899"

// appendFraction appends the nine digits of a number of nanoseconds, and a Z.
func appendFraction(dst []byte, nanoseconds uint32) []byte {
	var text [len("000000000Z")]byte
	text[9] = 'Z'
	rest := nanoseconds
	for i := 7; i > 0; i -= 2 {
		pair := rest % 100 * 2
		rest /= 100
		text[i], text[i+1] = digitPairs[pair], digitPairs[pair+1]
	}
	text[0] = byte('0' + rest)
	return append(dst, text[:]...)
}

// maxReadingAge is how long a reading of the clock is used.
const maxReadingAge = time.Second

// lastReading is the last reading of the clock, by any connection.
var lastReading atomic.Pointer[time.Time]

// clockTime returns the time of the clock. It reads the clock once in maxReadingAge, and
// adds what has passed since: time.Now reads two clocks, which takes longer than the
// rest of a stamp. When somebody sets the clock, stamps follow within maxReadingAge.
func clockTime() time.Time {
	if last := lastReading.Load(); last != nil {
		if age := time.Since(*last); age >= 0 && age < maxReadingAge {
			return last.Add(age)
		}
	}
	t := now()
	lastReading.Store(&t)
	return t
}
