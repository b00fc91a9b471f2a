package main

import (
	"math"
	"slices"
	"testing"
)

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{7}, 0.5, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 2, 3}, 0.5, 2.5},
		{[]float64{5, 1, 2, 3, 4}, 0.25, 2},
		{[]float64{5, 1, 2, 3, 4}, 0, 1},
		{[]float64{5, 1, 2, 3, 4}, 1, 5},
	} {
		if got := quantile(tt.values, tt.q); got != tt.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", tt.values, tt.q, got, tt.want)
		}
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("quantile of nothing = %v, want NaN", got)
	}
}

func TestMAD(t *testing.T) {
	if got := mad([]float64{1, 1, 2, 2, 4, 6, 9}); got != 1 {
		t.Errorf("mad([1 1 2 2 4 6 9]) = %v, want 1", got)
	}
}

func TestRatios(t *testing.T) {
	if got := ratios([]float64{2, 3, 9}, []float64{4, 2}); !slices.Equal(got, []float64{0.5, 1.5}) {
		t.Errorf("ratios([2 3 9], [4 2]) = %v, want [0.5 1.5]", got)
	}
}

func TestPooled(t *testing.T) {
	if got := pooled([][]float64{{2, 1}, {8, 1}}); len(got) != 2 || math.Abs(got[0]-4) > 1e-9 || got[1] != 1 {
		t.Errorf("pooled([[2 1] [8 1]]) = %v, want 4 and 1", got)
	}
}

func TestMedianInterval(t *testing.T) {
	var values []float64
	for i := range 40 {
		values = append(values, float64(40-i))
	}
	// The ranks 14 and 27 of 40 are those of a table of the sign test.
	if low, high := medianInterval(values); low != 14 || high != 27 {
		t.Errorf("interval = %v to %v, want 14 to 27", low, high)
	}
	if low, high := medianInterval(values[:3]); low != 38 || high != 40 {
		t.Errorf("interval of three = %v to %v, want all", low, high)
	}
}

// Every pair must name arms that are measured, with the same headers delivered
// unless it shows that nothing is.
func TestPairs(t *testing.T) {
	byName := map[string]arm{}
	for _, a := range arms {
		byName[a.name] = a
	}
	for _, p := range append(slices.Clone(pairs), idlePairs...) {
		a, ok := byName[p.arm]
		base, ok2 := byName[p.base]
		if !ok || !ok2 {
			t.Errorf("pair %q names an arm that does not exist", p.title)
		}
		if slices.Contains(pairs, p) && len(block(a.headers(plainUser))) != len(block(base.headers(plainUser))) {
			t.Errorf("pair %q compares different headers", p.title)
		}
	}
}

// The same for the studies, whose arms need servers that run.
func TestStudies(t *testing.T) {
	for _, s := range studies() {
		servers, byName := map[string]bool{}, map[string]arm{}
		for _, server := range s.servers {
			servers[server.name] = true
		}
		for _, a := range s.arms {
			if !servers[a.server] {
				t.Errorf("%s: the server of %q does not run", s.name, a.name)
			}
			byName[a.name] = a
		}
		for _, p := range s.pairs {
			a, ok := byName[p.arm]
			base, ok2 := byName[p.base]
			if !ok || !ok2 {
				t.Errorf("%s: pair %q names an arm that does not exist", s.name, p.title)
			}
			// Readers who may see everything get the same headers in both arms, except where the base has none, and with
			// proofs.
			if got, want := len(block(a.headers(readerUser))), len(block(base.headers(readerUser))); got != want && want > 0 && !s.differences {
				t.Errorf("%s: pair %q compares different headers, of %d and %d bytes", s.name, p.title, got, want)
			}
		}
	}
}
