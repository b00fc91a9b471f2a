package main

import (
	"fmt"
	"strings"
)

// verdict compares messages of all sizes with those of a stock server.
func verdict(b *strings.Builder, r *results) {
	b.WriteString("## Messages\n\n" +
		"CPU time of the server for a message, against the same delivered by stock: median over the rounds of the mean over " +
		"all rows, with its 95% confidence interval, and the medians of the lowest and the highest row.\n\n")
	tableHead(b, "ratio", "all rows", "lowest row", "highest row")
	for _, p := range pairs {
		summaryRow(b, r, p, r.plan.cells)
	}
	for _, p := range idlePairs {
		summaryRow(b, r, p, r.plan.idleCells())
	}
	b.WriteString("\n")
	dearer(b, r)
	if claim := r.connect.at(connectPairs[2], cell{}); len(claim) > 0 {
		low, high := medianInterval(claim)
		fmt.Fprintf(b, "Connecting with a headers claim costs %.1f%% (95%% confidence: %.1f%% to %.1f%%) of the same at a stock server, which ignores the claim.\n",
			100*median(claim), 100*low, 100*high)
	}
	b.WriteString("\n")
}

func summaryRow(b *strings.Builder, r *results, p pair, cells []cell) {
	if len(cells) == 0 {
		return
	}
	var rows [][]float64
	var medians []float64
	for _, c := range cells {
		rows = append(rows, r.cpu.at(p, c))
		medians = append(medians, median(r.cpu.at(p, c)))
	}
	tableRow(b, p.title, interval(pooled(rows)), fmt.Sprintf("%.2f", quantile(medians, 0)), fmt.Sprintf("%.2f", quantile(medians, 1)))
}

func interval(values []float64) string {
	low, high := medianInterval(values)
	return fmt.Sprintf("**%.3f** (%.3f–%.3f)", median(values), low, high)
}

// idleCells are the cells for which idlePairs are measured.
func (p *plan) idleCells() []cell {
	var idle []cell
	for _, c := range p.cells {
		if c.subs == 0 {
			idle = append(idle, c)
		}
	}
	return idle
}

// dearer names the rows in which the server's stamp costs more than the client's headers.
func dearer(b *strings.Builder, r *results) {
	rows, above := 0, 0
	var sure []string
	for _, p := range stampPairs {
		for _, c := range r.plan.cells {
			values := r.cpu.at(p, c)
			rows++
			if median(values) > 1 {
				above++
			}
			if low, _ := medianInterval(values); low > 1 {
				sure = append(sure, fmt.Sprintf("%s at %s and %s (%.2f)", p.title, bytesText(c.size), subsText(c.subs), median(values)))
			}
		}
	}
	fmt.Fprintf(b, "Stamped is dearer than sent by the client in %d of %d rows by the median, and in %d by its 95%% confidence interval",
		above, rows, len(sure))
	if len(sure) > 0 {
		fmt.Fprintf(b, ": %s", strings.Join(sure, "; "))
	}
	fmt.Fprintf(b, ". Chance alone would give about %.0f of the latter if all were equally dear.\n\n", 0.025*float64(rows))
}
