package main

import (
	"fmt"
	"strings"
	"time"
)

// summary is what a reader wants to know first: one line for each cost, with the noise of its measurement.
func summary(b *strings.Builder, r *results) {
	b.WriteString("For whoever wants to know what Stamp costs before running it. The tables that the figures are from are in the " +
		"[appendix](#appendix-all-tables). A factor is against the same work of a stock server of the same version in the same run. " +
		"The noise is the factor of two equal processes: it would be 1 on a machine without any.\n\n")
	tableHead(b, "What", "Cost", "Noise")
	line := func(what string, values []float64, format, noise string) {
		if len(values) > 0 {
			tableRow(b, what, fmt.Sprintf(format, median(values)), noise)
		}
	}
	all := func(p pair) []float64 { return r.pooledCells("", p, r.plan.cells) }
	noise := factor(all(pairs[0]))
	line("a message of a connection without headers", all(pairs[1]), "**%.2f** of stock's CPU time", noise)
	line("a message that gets 1 header", all(pairs[2]), "**%.2f** of one whose client sends that header", noise)
	line("a message that gets 4 headers", all(pairs[3]), "**%.2f** of one whose client sends them", noise)
	if s := mqttStudy(); r.measured(s) {
		line("an MQTT message that gets 1 header", r.pooledCells(s.name, s.pairs[2], s.cells), "**%.2f** of one without a header", factor(r.pooledCells(s.name, s.pairs[0], s.cells)))
	}
	if s := sealedStudy(); r.measured(s) {
		line("a delivery where headers are sealed", r.pooledCells(s.name, s.pairs[3], s.cells), "**%.2f** of one where none are", factor(r.pooledCells(s.name, s.pairs[2], s.cells)))
	}
	connect := func(p pair) []float64 { return r.connect.at(p, cell{}) }
	line("connecting with a user JWT that has a claim", connect(connectPairs[2]), "**%.2f** of the same at stock", factor(connect(connectPairs[0])))
	line("connecting through the handler inside", connect(calloutConnectPairs[2]), "**%.2f** of stock with nats-callout beside it", factor(connect(calloutConnectPairs[0])))
	line("memory of an idle connection with a claim", r.memoryDifferences(connectPairs[2]), "**%.0f** bytes more than at stock", fmt.Sprintf("%.0f bytes", median(r.memoryDifferences(connectPairs[0]))))
	if cached := r.callout[key{arm: bundled}]; len(cached) > 0 {
		tableRow(b, "a callout whose session is cached", fmt.Sprintf("**%s** µs of the handler, so %.0f a second and core", digits(median(cached)/1e3), 1e9/median(cached)), "± "+digits(mad(cached)/1e3)+" µs")
	}
	if ours, stock := r.reloads(changedHeadersCase), r.reloads(stockAddedCase); len(ours) > 0 {
		tableRow(b, fmt.Sprintf("a reload that changes the block `headers`, %d connections", r.plan.reloadConns),
			fmt.Sprintf("**%s** ms; a stock server's reload that adds a user takes %s", digits(median(ours)), digits(median(stock))), spread(ours, 1)+" ms")
	}
	if s := alternativesStudy(""); r.measured(s) {
		of := func(i int) []float64 { return r.pooledCells(s.name, s.pairs[i], s.cells) }
		line("instead of Stamp: a service import with `share: true`", of(3), "**%.1f** times a message whose client sends a header; a stamp "+fmt.Sprintf("%.2f", median(of(1))), factor(of(0)))
	}
	b.WriteString("\n")
}

func factor(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", median(values))
}

// measured reports whether a run has the study.
func (r *results) measured(s study) bool { return len(r.cpu.in(s.name, s.pairs[0], s.cells[0])) > 0 }

// pooledCells are the ratios of a pair in each round, over all cells.
func (r *results) pooledCells(study string, p pair, cells []cell) []float64 {
	var rows [][]float64
	for _, c := range cells {
		rows = append(rows, r.cpu.in(study, p, c))
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return nil
	}
	return pooled(rows)
}

// memoryDifferences are, for each round, how many bytes a connection of one arm takes more than one of the other.
func (r *results) memoryDifferences(p pair) []float64 {
	return differences(r.memory[key{arm: p.arm}], r.memory[key{arm: p.base}])
}

// reloads are the times of a case's reloads, in milliseconds.
func (r *results) reloads(name string) []float64 {
	var ms []float64
	for _, s := range r.reload[name] {
		ms = append(ms, float64(s.reload)/float64(time.Millisecond))
	}
	return ms
}
