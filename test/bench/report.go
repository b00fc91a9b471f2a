package main

import (
	"fmt"
	"strings"
)

// report is docs/benchmarks.md.
func report(r *results, m machine) string {
	var b strings.Builder
	b.WriteString("# What Stamp costs\n\n")
	summary(&b, r)
	alternativesSection(&b, r)
	fmt.Fprintf(&b, "## How it was measured\n\nBy `scripts/bench`: %d rounds, %d minutes in all. Machine: %s. [Method](#method) has the details.\n\n", r.plan.rounds, int(r.took.Minutes()+0.5), m.text)
	b.WriteString("## Appendix: all tables\n\n")
	if r.plan.has("messages") {
		verdict(&b, r)
		ratioTables(&b, r)
	}
	studySections(&b, r)
	if r.plan.has("connections") {
		connectTable(&b, r)
	}
	calloutConnectTable(&b, r)
	crowdSection(&b, r)
	calloutTable(&b, r)
	reloadSection(&b, r)
	growthSection(&b, r)
	if r.plan.has("messages") {
		absoluteTables(&b, r)
		rateTables(&b, r)
		allocTable(&b, r)
	}
	cliTables(&b, r)
	fmt.Fprintf(&b, method, len(block(one)), len(block(four)), len(block(own))+len(block(four))-len("NATS/1.0\r\n\r\n"))
	return b.String()
}

// ratio shows a median and the quartiles.
func ratio(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return fmt.Sprintf("**%.2f** (%.2f–%.2f)", median(values), quantile(values, 0.25), quantile(values, 0.75))
}

// spread shows a median, and the smallest and largest value.
func spread(values []float64, scale float64) string {
	if len(values) == 0 {
		return "–"
	}
	number := func(q float64) string { return digits(quantile(values, q) / scale) }
	return fmt.Sprintf("%s (%s–%s)", number(0.5), number(0), number(1))
}

// deviation shows a median, and the median absolute deviation from it.
func deviation(values []float64, scale float64) string {
	if len(values) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s ± %s", digits(median(values)/scale), digits(mad(values)/scale))
}

// digits prints about three of them.
func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func bytesText(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}

func subsText(n int) string {
	switch n {
	case 0:
		return "no subscriber"
	case 1:
		return "one subscriber"
	default:
		return fmt.Sprintf("%d subscribers", n)
	}
}

func tableHead(b *strings.Builder, columns ...string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

func tableRow(b *strings.Builder, columns ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(columns, " | "))
}

// subscribers and sizes are those of the plan, in its order.
func (p *plan) subscribers() []int { return distinct(p.cells, func(c cell) int { return c.subs }) }
func (p *plan) sizes() []int       { return distinct(p.cells, func(c cell) int { return c.size }) }

func distinct[T any](s []T, of func(T) int) []int {
	var all []int
	seen := map[int]bool{}
	for _, v := range s {
		if n := of(v); !seen[n] {
			seen[n] = true
			all = append(all, n)
		}
	}
	return all
}
