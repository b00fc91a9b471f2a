package main

import (
	"fmt"
	"strings"
	"time"
)

// summary writes what a reader wants to know first: one line for each cost, with the noise of its measurement.
func summary(b *strings.Builder, r *results) {
	b.WriteString("For whoever wants to know what Stamp costs before running it. *Stock* is nats-server of the same version without Stamp, " +
		"on the same machine and in the same run. A *claim* is the part of a user JWT that names headers; with it the server *stamps* these headers onto each " +
		"message of the connection, and the client need not send them.\n\n" +
		"A cost without a unit is a factor of CPU time: 1.10 is 10% more than what the row compares with, and 0.90 is 10% less. The noise is what the same " +
		"measurement finds between two equal processes. On a perfect machine that factor would be 1; here, a cost that is no further from 1 than the noise " +
		"shows no difference. The [appendix](#appendix-all-tables) has the tables behind the figures.\n\n")
	tableHead(b, "What", "Cost", "Noise")
	line := func(what string, values []float64, format, noise string) {
		if len(values) > 0 {
			tableRow(b, what, fmt.Sprintf(format, median(values)), noise)
		}
	}
	all := func(p pair) []float64 { return r.pooledCells("", p, r.plan.cells) }
	noise := factor(all(pairs[0]))
	line("a message that Stamp leaves as it is", all(pairs[1]), "**%.2f** times the message at stock", noise)
	line("a message with 1 stamped header", all(pairs[2]), "**%.2f** times a message at stock whose client sends that header", noise)
	line("a message with 4 stamped headers", all(pairs[3]), "**%.2f** times a message at stock whose client sends these headers", noise)
	if s := mqttStudy(); r.measured(s) {
		line("an MQTT message with 1 stamped header", r.pooledCells(s.name, s.pairs[2], s.cells), "**%.2f** times an MQTT message without a header, since clients of MQTT 3.1.1 cannot send any", factor(r.pooledCells(s.name, s.pairs[0], s.cells)))
	}
	if s := sealedStudy(); r.measured(s) {
		line("a delivery by a server that withholds some headers from some receivers (`sealed`)", r.pooledCells(s.name, s.pairs[3], s.cells), "**%.2f** times a delivery by a Stamp server without that setting", factor(r.pooledCells(s.name, s.pairs[2], s.cells)))
	}
	connect := func(p pair) []float64 { return r.connect.at(p, cell{}) }
	line("a new connection whose user JWT has a claim", connect(connectPairs[2]), "**%.2f** times the same at stock, which ignores the claim", factor(connect(connectPairs[0])))
	line("a new connection by an auth callout that the handler inside the server answers", connect(calloutConnectPairs[2]), "**%.2f** times the same at stock, with nats-callout as a process beside it", factor(connect(calloutConnectPairs[0])))
	line("memory of an idle connection whose user JWT has a claim", r.memoryDifferences(connectPairs[2]), "**%.0f** bytes more than at stock"+takes(r.memory[key{arm: connectPairs[2].base}]), fmt.Sprintf("%.0f bytes", median(r.memoryDifferences(connectPairs[0]))))
	if cached := r.callout[key{arm: bundled}]; len(cached) > 0 {
		tableRow(b, "an auth callout that nats-callout answers from its cache of sessions", fmt.Sprintf("**%s** µs of CPU time, so %.0f a second on one core", digits(median(cached)/1e3), 1e9/median(cached)), "± "+digits(mad(cached)/1e3)+" µs")
	}
	if ours, stock := r.reloads(changedHeadersCase), r.reloads(stockAddedCase); len(ours) > 0 {
		tableRow(b, fmt.Sprintf("the time of a reload that changes the block `headers`, with %d connections", r.plan.reloadConns),
			fmt.Sprintf("**%s** ms; a reload of stock that adds a user takes %s ms", digits(median(ours)), digits(median(stock))), "from "+digits(quantile(ours, 0))+" to "+digits(quantile(ours, 1))+" ms")
	}
	if s := alternativesStudy(""); r.measured(s) {
		of := func(i int) []float64 { return r.pooledCells(s.name, s.pairs[i], s.cells) }
		line("without Stamp: a message by a service import with `share: true`, which tells the service who has sent it", of(3), "**%.1f** times a message whose client sends a header; a stamped message takes "+fmt.Sprintf("%.2f", median(of(1)))+" times that", factor(of(0)))
	}
	b.WriteString("\n")
}

// takes says how many bytes stock needs.
func takes(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf(", which takes %.0f", median(values))
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
