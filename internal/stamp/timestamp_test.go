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
							t.Errorf("appendTime wrote %s, want %s", got, want)
						}
					}
				}
			}
		})
	}
	all.Wait()
}

// The clock is read again when its last reading is old, or cannot be one of the past.
func TestClockIsReadOnceASecond(t *testing.T) {
	defer func() {
		now = time.Now
		lastReading.Store(nil)
	}()
	readings := 0
	now = func() time.Time {
		readings++
		return time.Now()
	}
	for _, tt := range []struct {
		name     string
		last     func() *time.Time
		outdated bool
	}{
		{"none", func() *time.Time { return nil }, true},
		{"old", func() *time.Time { last := time.Now().Add(-maxReadingAge); return &last }, true},
		{"of the future", func() *time.Time { last := time.Now().Add(time.Hour); return &last }, true},
		{"new", func() *time.Time { last := time.Now(); return &last }, false},
	} {
		readings = 0
		before := time.Now()
		last := tt.last()
		lastReading.Store(last)
		got, after := clockTime(), time.Now()
		if after.Sub(before) >= maxReadingAge {
			t.Skip("the machine stood still for as long as a reading is used")
		}
		if got.Before(before) || got.After(after) || (readings == 1) != tt.outdated {
			t.Errorf("%s: the time %v is not between %v and %v, or the clock was read %d times", tt.name, got, before, after, readings)
		}
		if tt.outdated && (last == lastReading.Load()) {
			t.Errorf("%s: the reading of the clock was not kept", tt.name)
		}
	}
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
	b.Run("clockTime", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			at = clockTime()
		}
	})
	b.Run("AppendFormat", func(b *testing.B) {
		for b.Loop() {
			dst = at.UTC().AppendFormat(dst[:0], timeLayout)
		}
	})
}
