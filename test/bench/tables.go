package main

import (
	"fmt"
	"slices"
	"strings"
)

// of returns a pair's ratios in one cell of the main study.
func (s series) at(p pair, c cell) []float64 { return s.in("", p, c) }

// in returns a pair's ratios in one cell of a study.
func (s series) in(study string, p pair, c cell) []float64 {
	return ratios(s[key{study, c, p.arm}], s[key{study, c, p.base}])
}

func titles(first string, ps []pair) []string {
	all := []string{first}
	for _, p := range ps {
		all = append(all, p.title)
	}
	return all
}

func ratioTables(b *strings.Builder, r *results) {
	b.WriteString("## CPU time of the server for a message: ratios\n\n" +
		"Median (quartiles) over the rounds of the ratio within a round. Below 1 the stamping server is cheaper.\n" +
		"\"1 header stamped / sent\": the server stamps one header, against a client that sends the same header to a stock server.\n\n")
	for _, subs := range r.plan.subscribers() {
		ps := pairs
		if subs == 0 {
			ps = slices.Concat(pairs, idlePairs)
		}
		fmt.Fprintf(b, "### %s\n\n", subsText(subs))
		tableHead(b, titles("payload", ps)...)
		for _, size := range r.plan.sizes() {
			row := []string{bytesText(size)}
			for _, p := range ps {
				row = append(row, ratio(r.cpu.at(p, cell{size, subs})))
			}
			tableRow(b, row...)
		}
		row := []string{"all"}
		for _, p := range ps {
			row = append(row, ratio(r.pooledSizes(p, subs)))
		}
		tableRow(b, row...)
		b.WriteString("\n")
	}
	if slices.Contains(r.plan.subscribers(), 0) {
		b.WriteString("The last two columns of the first table show that nothing is stamped where nobody listens: " +
			"a connection that has headers to stamp, against one that has none, both on the stamping server.\n\n")
	}
}

// pooledSizes has the mean over the sizes for each round.
func (r *results) pooledSizes(p pair, subs int) []float64 {
	var rows [][]float64
	for _, size := range r.plan.sizes() {
		rows = append(rows, r.cpu.at(p, cell{size, subs}))
	}
	return pooled(rows)
}

func armTitles(names []string) []string { return append([]string{"payload"}, names...) }

func armNames() []string {
	var names []string
	for _, a := range arms {
		if a.server != again {
			names = append(names, a.name)
		}
	}
	return names
}

// armTables has a table for each number of subscribers, with a column for each arm.
func armTables(b *strings.Builder, r *results, show func(k key) string) {
	for _, subs := range r.plan.subscribers() {
		fmt.Fprintf(b, "### %s\n\n", subsText(subs))
		tableHead(b, armTitles(armNames())...)
		for _, size := range r.plan.sizes() {
			row := []string{bytesText(size)}
			for _, name := range armNames() {
				row = append(row, show(key{cell: cell{size, subs}, arm: name}))
			}
			tableRow(b, row...)
		}
		b.WriteString("\n")
	}
}

func absoluteTables(b *strings.Builder, r *results) {
	b.WriteString("## CPU time of the server for a message: microseconds\n\nMedian ± median absolute deviation.\n\n")
	armTables(b, r, func(k key) string { return deviation(r.cpu[k], 1e3) })
}

func rateTables(b *strings.Builder, r *results) {
	b.WriteString("## Throughput: thousand messages per second\n\n" +
		"Median (smallest–largest). The publisher, the subscribers and the server share the machine's CPUs, and a " +
		"client that sends headers writes more bytes: this says less about the server than its CPU time does.\n\n")
	armTables(b, r, func(k key) string {
		var rates []float64
		for _, ns := range r.wall[k] {
			rates = append(rates, 1e6/ns)
		}
		return spread(rates, 1)
	})
}

func allocTable(b *strings.Builder, r *results) {
	b.WriteString("## Allocations of the server for a message\n\n" +
		"Objects on the heap per message, from the runtime's count (`/debug/vars`). " +
		"A message that arrives in more than one read is put together in a buffer of its own, in the stock server too: at 16 KiB " +
		"that is about every fourth, at 1 MiB every one.\n\n")
	var columns []string
	for _, c := range allocCells() {
		columns = append(columns, fmt.Sprintf("%s, %s", bytesText(c.size), subsText(c.subs)))
	}
	tableHead(b, append([]string{"case"}, columns...)...)
	for _, name := range armNames() {
		row := []string{name}
		for _, c := range allocCells() {
			row = append(row, fmt.Sprintf("%.3f", max(0, median(r.allocs[key{cell: c, arm: name}]))))
		}
		tableRow(b, row...)
	}
	b.WriteString("\n")
}

func connectTable(b *strings.Builder, r *results) {
	fmt.Fprintf(b, "## Connecting\n\nCPU time of the server for one connection in operator mode, authenticated with a user JWT and closed; "+
		"%d rounds of %d connections. The claim has four headers.\n\n", r.plan.connectRounds, r.plan.connects)
	costRows(b, r.connect, connectNames(), connectPairs)
}

func calloutTable(b *strings.Builder, r *results) {
	if len(r.callout) == 0 {
		return
	}
	fmt.Fprintf(b, "## Callouts\n\nCPU time of the handler's process for one callout, encrypted with an xkey; %d rounds of %d, %d sessions, %d requests "+
		"under way at once. The smallest handler has one goroutine, knows one user, looks nothing up and checks nothing.\n\n",
		r.plan.calloutRounds, r.plan.callouts, calloutSessions, calloutWindow)
	tableHead(b, "handler", "microseconds, median ± median absolute deviation", "callouts per second and core")
	for _, arm := range calloutArms {
		values := r.callout[key{arm: arm}]
		tableRow(b, arm, deviation(values, 1e3), fmt.Sprintf("%.0f", 1e9/median(values)))
	}
	b.WriteString("\n")
	ratioRows(b, r.callout, calloutPairs)
}

// fine is ratio with one digit more.
func fine(values []float64) string {
	return fmt.Sprintf("**%.3f** (%.3f–%.3f)", median(values), quantile(values, 0.25), quantile(values, 0.75))
}

func cliTables(b *strings.Builder, r *results) {
	if len(r.cliRate) == 0 {
		return
	}
	fmt.Fprintf(b, "## The public `nats bench`\n\n`nats bench pub` with one `nats bench sub`, of natscli v0.5.1, %d rounds; the client's headers by `-H`.\n\n"+
		"Thousand messages per second that the subscriber reports, median (smallest–largest):\n\n", r.plan.cliRounds)
	cliTable(b, r, func(k key) string { return spread(r.cliRate[k], 1e3) })
	b.WriteString("CPU time of the server for a message, microseconds, median ± median absolute deviation:\n\n")
	cliTable(b, r, func(k key) string { return deviation(r.cliCPU[k], 1e3) })
	b.WriteString("Its ratios, median (quartiles):\n\n")
	ps := pairs[:4]
	tableHead(b, titles("payload", ps)...)
	for _, l := range r.plan.cliLoads {
		row := []string{bytesText(l.size)}
		for _, p := range ps {
			row = append(row, ratio(r.cliCPU.at(p, l.cell())))
		}
		tableRow(b, row...)
	}
	b.WriteString("\n")
}

func cliTable(b *strings.Builder, r *results, show func(k key) string) {
	tableHead(b, armTitles(cliArms)...)
	for _, l := range r.plan.cliLoads {
		row := []string{bytesText(l.size)}
		for _, name := range cliArms {
			row = append(row, show(key{cell: l.cell(), arm: name}))
		}
		tableRow(b, row...)
	}
	b.WriteString("\n")
}
