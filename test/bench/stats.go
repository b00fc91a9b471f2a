package main

import (
	"math"
	"slices"
)

// quantile is the q-quantile of values, interpolated; NaN without values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	at := q * float64(len(s)-1)
	i := int(at)
	if i+1 == len(s) {
		return s[i]
	}
	return s[i] + (at-float64(i))*(s[i+1]-s[i])
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// mad is the median of the distances from the median.
func mad(values []float64) float64 {
	m := median(values)
	var d []float64
	for _, v := range values {
		d = append(d, math.Abs(v-m))
	}
	return median(d)
}

// ratios divides what was measured in the same round.
func ratios(values, base []float64) []float64 {
	var r []float64
	for i := range min(len(values), len(base)) {
		r = append(r, values[i]/base[i])
	}
	return r
}

// pooled is the geometric mean of each round's values, over rows of as many
// rounds each.
func pooled(rows [][]float64) []float64 {
	if len(rows) == 0 {
		return nil
	}
	means := make([]float64, len(rows[0]))
	for i := range means {
		sum := 0.0
		for _, row := range rows {
			sum += math.Log(row[i])
		}
		means[i] = math.Exp(sum / float64(len(rows)))
	}
	return means
}

// medianInterval is the 95% confidence interval of the median, from the ranks that the binomial distribution gives. For fewer
// than six values it is the whole range.
func medianInterval(values []float64) (low, high float64) {
	n := len(values)
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	i := max(0, int(math.Floor((float64(n)-1.96*math.Sqrt(float64(n)))/2)))
	return s[i], s[n-1-i]
}
