package stamp

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// The text is the same as that of package time, whichever times were written before, also by other goroutines.
func TestAppendTime(t *testing.T) {
	times := []time.Time{
		{}, time.Unix(0, 0), time.Unix(0, 999_999_999), time.Unix(-1, 1), time.Unix(-62135596801, 0), time.Unix(253402300799, 999_999_999),
		time.Unix(253402300800, 0), time.Date(2024, 2, 29, 23, 59, 59, 100_000_000, time.FixedZone("", 5400)), time.Date(-5, 1, 1, 0, 0, 0, 7, time.UTC),
	}
	for range 1000 {
		times = append(times, time.Unix(rand.Int64N(8e9)-4e9, rand.Int64N(1e9)))
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				for _, i := range rand.Perm(len(times)) {
					for range 2 {
						if got, want := string(appendTime([]byte("x"), times[i])), "x"+times[i].UTC().Format(timeLayout); got != want {
							t.Errorf("got %s, want %s", got, want)
						}
					}
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkTime(b *testing.B) {
	dst := make([]byte, 0, 64)
	at := time.Now()
	b.Run("appendTime", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst = appendTime(dst[:0], at)
		}
	})
	b.Run("AppendFormat", func(b *testing.B) {
		for b.Loop() {
			dst = at.UTC().AppendFormat(dst[:0], timeLayout)
		}
	})
}
