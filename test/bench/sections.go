package main

import (
	"fmt"
	"math"
	"strings"
)

// studySections have a table for each study.
func studySections(b *strings.Builder, r *results) {
	if !r.plan.has("studies") {
		return
	}
	fmt.Fprintf(b, "## Other ways, other messages: CPU time of the server for a message, ratios\n\n"+
		"%d rounds. Median (quartiles) over the rounds of the ratio within a round.\n\n", r.plan.studyRounds)
	for _, s := range r.plan.studies {
		fmt.Fprintf(b, "### %s\n\n%s\n\n", s.name, s.intro)
		ratioTable(b, r, s)
		if s.differences {
			differenceTable(b, r, s)
		}
	}
}

// ratioTable has the ratios of a study, and in its last row those of all cells together.
func ratioTable(b *strings.Builder, r *results, s study) {
	tableHead(b, titles("payload, subscribers", s.pairs)...)
	columns := make([][][]float64, len(s.pairs))
	for _, c := range s.cells {
		row := []string{bytesText(c.size) + ", " + subsText(c.subs)}
		for i, p := range s.pairs {
			values := r.cpu.in(s.name, p, c)
			columns[i] = append(columns[i], values)
			row = append(row, ratio(values))
		}
		tableRow(b, row...)
	}
	row := []string{"all, with the 95% confidence interval"}
	for _, column := range columns {
		row = append(row, interval(pooled(column)))
	}
	tableRow(b, row...)
	b.WriteString("\n")
}

// differenceTable has what the arms of the pairs differ by.
func differenceTable(b *strings.Builder, r *results, s study) {
	b.WriteString("Microseconds more for a message, median (quartiles) over the rounds of the difference within a round:\n\n")
	var names []string
	for _, p := range s.pairs {
		names = append(names, strings.ReplaceAll(p.title, "/", "−"))
	}
	tableHead(b, append([]string{"payload, subscribers"}, names...)...)
	for _, c := range s.cells {
		row := []string{bytesText(c.size) + ", " + subsText(c.subs)}
		for _, p := range s.pairs {
			row = append(row, microseconds(differences(r.cpu[key{s.name, c, p.arm}], r.cpu[key{s.name, c, p.base}])))
		}
		tableRow(b, row...)
	}
	b.WriteString("\n")
}

func differences(values, base []float64) (diffs []float64) {
	for i := range min(len(values), len(base)) {
		diffs = append(diffs, values[i]-base[i])
	}
	return diffs
}

// microseconds shows nanoseconds.
func microseconds(ns []float64) string {
	return fmt.Sprintf("**%.2f** (%.2f to %.2f)", median(ns)/1e3, quantile(ns, 0.25)/1e3, quantile(ns, 0.75)/1e3)
}

func calloutConnectTable(b *strings.Builder, r *results) {
	if len(r.connect[key{arm: stockBeside}]) == 0 {
		return
	}
	fmt.Fprintf(b, "### Through an auth callout\n\nCPU time of server and handler together for one connection, authenticated by a token "+
		"that is the id of a session (of %d, cached), with the answer encrypted where the handler is a process of its own; %d rounds of %d connections. "+
		"At the stock server the answer's headers claim has no effect.\n\n", calloutSessions, r.plan.connectRounds, r.plan.connects)
	costRows(b, r.connect, calloutConnectArms, calloutConnectPairs)
}

func crowdSection(b *strings.Builder, r *results) {
	if len(r.burst) == 0 {
		return
	}
	fmt.Fprintf(b, "### %d connections in a burst\n\n%d connections are being opened at once until there are %d, authenticated by a user JWT in operator "+
		"mode; %d rounds, each with servers of its own.\n\n", r.plan.burst, dialers, r.plan.burst, r.plan.crowdRounds)
	tableHead(b, "case", "microseconds of CPU for a connection, median ± median absolute deviation", "connections a second, median (smallest–largest)")
	for _, a := range connectArms {
		var rates []float64
		for _, ns := range r.wall[key{study: burstStudy, arm: a.name}] {
			rates = append(rates, 1e9/ns)
		}
		tableRow(b, a.name, deviation(r.burst[key{arm: a.name}], 1e3), spread(rates, 1))
	}
	b.WriteString("\n")
	ratioRows(b, r.burst, connectPairs)
	fmt.Fprintf(b, "### Memory of %d idle connections\n\nBytes for a connection: reachable objects after three collections of garbage, and stacks, less what the "+
		"server held with a hundred connections. All have the same claim, as the tabs and devices of one user; so their block is one.\n\n", r.plan.crowd)
	memoryRows(b, r, connectNames(), connectPairs)
	if len(r.memory[key{arm: oursInside}]) == 0 {
		return
	}
	fmt.Fprintf(b, "### Memory of %d idle connections that an auth callout let in\n\nThe same for the server alone, without the process of a handler "+
		"beside it. Each connection is of a session of its own, and its user JWT has a claim of its own. The server keeps what it needs to renew the "+
		"connection, and to close it with its session. A handler inside has the session in its cache, too.\n\n", r.plan.calloutCrowd)
	memoryRows(b, r, calloutConnectArms, calloutConnectPairs)
}

// memoryRows are tables of the memory of idle connections, and of its differences.
func memoryRows(b *strings.Builder, r *results, arms []string, pairs []pair) {
	tableHead(b, "case", "bytes for a connection, median (smallest–largest)")
	for _, arm := range arms {
		tableRow(b, arm, spread(r.memory[key{arm: arm}], 1))
	}
	b.WriteString("\n")
	tableHead(b, "difference", "bytes for a connection, median (smallest–largest)")
	for _, p := range pairs {
		diffs := r.memoryDifferences(p)
		tableRow(b, strings.ReplaceAll(p.title, "/", "−"), fmt.Sprintf("**%.0f** (%.0f–%.0f)", median(diffs), quantile(diffs, 0), quantile(diffs, 1)))
	}
	b.WriteString("\n")
}

// costRows are tables of costs that have no cells, and of their ratios.
func costRows(b *strings.Builder, costs series, arms []string, ps []pair) {
	tableHead(b, "case", "microseconds, median ± median absolute deviation")
	for _, arm := range arms {
		tableRow(b, arm, deviation(costs[key{arm: arm}], 1e3))
	}
	b.WriteString("\n")
	ratioRows(b, costs, ps)
}

func ratioRows(b *strings.Builder, costs series, ps []pair) {
	tableHead(b, "ratio", "median (quartiles)")
	for _, p := range ps {
		tableRow(b, p.title, fine(costs.at(p, cell{})))
	}
	b.WriteString("\n")
}

func growthSection(b *strings.Builder, r *results) {
	if len(r.growth) == 0 {
		return
	}
	fmt.Fprintf(b, "## Growth\n\nWhat the stamp itself costs, in the stamp package and without a server: nanoseconds for a message, against one of the numbers "+
		"that it may depend on. %d rounds, in each of which every point is measured twice, in random order: \"again\" is the ratio of the two, which shows the "+
		"noise. \"a unit\" is what one more costs since the point before. The study \"Many headers\" has the same in the server.\n\n", r.plan.growthRounds)
	for _, g := range growths() {
		fmt.Fprintf(b, "### %s\n\n", g.title)
		growthPlot(b, r, g)
		tableHead(b, g.axis, "nanoseconds, median (quartiles)", "again, median (quartiles)", "a unit")
		last, lastN := math.NaN(), 0
		for _, n := range g.values {
			values := r.growth[key{study: g.title, arm: growthArm(n, false)}]
			again := ratios(r.growth[key{study: g.title, arm: growthArm(n, true)}], values)
			unit := "–"
			if m := median(values); !math.IsNaN(last) {
				unit = fmt.Sprintf("%.2f", (m-last)/float64(n-lastN))
			}
			last, lastN = median(values), n
			tableRow(b, fmt.Sprint(n), fmt.Sprintf("**%s** (%s–%s)", digits(last), digits(quantile(values, 0.25)), digits(quantile(values, 0.75))), ratio(again), unit)
		}
		b.WriteString("\n")
	}
}

// growthPlot is a chart of Mermaid's, whose axis needs equal distances: the points between the
// measured ones are on a straight line.
func growthPlot(b *strings.Builder, r *results, g growth) {
	const steps = 20
	var xs, ys []string
	first, last := g.values[0], g.values[len(g.values)-1]
	for i := range steps + 1 {
		x := float64(first) + float64(last-first)*float64(i)/steps
		xs, ys = append(xs, fmt.Sprintf("%.0f", x)), append(ys, fmt.Sprintf("%.1f", growthAt(r, g, x)))
	}
	fmt.Fprintf(b, "```mermaid\nxychart-beta\n    x-axis \"%s\" [%s]\n    y-axis \"nanoseconds for a message\" 0 --> %.0f\n    line [%s]\n```\n\n",
		strings.ToLower(g.title), strings.Join(xs, ", "), 1.1*growthAt(r, g, float64(last)), strings.Join(ys, ", "))
}

// growthAt is interpolated between the medians.
func growthAt(r *results, g growth, x float64) float64 {
	at := func(n int) float64 { return median(r.growth[key{study: g.title, arm: growthArm(n, false)}]) }
	for i, n := range g.values[1:] {
		if before := g.values[i]; x <= float64(n) {
			return at(before) + (at(n)-at(before))*(x-float64(before))/float64(n-before)
		}
	}
	return at(g.values[len(g.values)-1])
}
