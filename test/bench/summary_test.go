package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The first screen of docs/benchmarks.md has the words of this program, whatever figures a run has given.
func TestFirstScreenOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	shown, _, ok := strings.Cut(strings.TrimPrefix(string(page), "# What Stamp costs\n\n"), "## ")
	if !ok {
		t.Fatal("docs/benchmarks.md has no section after its summary")
	}
	var written strings.Builder
	summary(&written, fullResults())
	number := regexp.MustCompile(`-?\d+(\.\d+)?`)
	want, got := number.ReplaceAllString(written.String(), "0"), number.ReplaceAllString(shown, "0")
	if got != want {
		t.Errorf("docs/benchmarks.md begins with\n%s\nthe program writes\n%s", got, want)
	}
}

// fullResults are those of a run of all parts that the summary shows. All figures are 1.
func fullResults() *results {
	r := newRunner(binaries{}, newPlan(false), io.Discard).res
	for _, c := range r.plan.cells {
		for _, a := range arms {
			r.cpu.add(key{cell: c, arm: a.name}, 1)
		}
	}
	for _, s := range slices.Concat(r.plan.studies, []study{alternativesStudy("")}) {
		for _, c := range s.cells {
			for _, a := range s.arms {
				r.cpu.add(key{s.name, c, a.name}, 1)
			}
		}
	}
	for _, arm := range slices.Concat(connectNames(), calloutConnectArms) {
		name := key{arm: arm}
		r.connect.add(name, 1)
		r.memory.add(name, 1)
	}
	r.callout.add(key{arm: bundled}, 1)
	for _, name := range []string{changedHeadersCase, stockAddedCase} {
		r.reload[name] = []reloadSample{{reload: time.Millisecond}}
	}
	return r
}
