package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

const subject = "bench.subject"

// The servers of a run. again is a second process of the stock binary.
const (
	stock = "stock"
	again = "stock again"
	ours  = "ours"
)

// The users of the configuration. For stock they all are plain.
const (
	plainUser  = "plain"
	oneUser    = "one"
	fourUser   = "four"
	readerUser = "reader" // who may see sealed names
)

// arm is one way in which a message comes to its headers.
type arm struct {
	name    string
	server  string
	user    string
	sent    []header // by the client
	stamped []header // by the server
	readers []string // the subscribers' users, by turns; plain where there are none
	way     *way     // nil: that of the study
}

// headers are those that a subscriber of that user gets. Session is the sealed name.
func (a arm) headers(user string) []header {
	all := slices.Concat(a.sent, a.stamped)
	if slices.Contains(sealingServers, a.server) && user != readerUser {
		all = slices.DeleteFunc(all, func(h header) bool { return h.name == "Session" })
	}
	return all
}

var arms = []arm{
	{name: "stock", server: stock, user: plainUser},
	{name: "stock again", server: again, user: plainUser},
	{name: "ours", server: ours, user: plainUser},
	{name: "stock, client sends 1", server: stock, user: plainUser, sent: one},
	{name: "ours, stamps 1", server: ours, user: oneUser, stamped: one},
	{name: "stock, client sends 4", server: stock, user: plainUser, sent: four},
	{name: "ours, stamps 4", server: ours, user: fourUser, stamped: four},
	{name: "stock, client sends 2+4", server: stock, user: plainUser, sent: slices.Concat(own, four)},
	{name: "ours, client sends 2, stamps 4", server: ours, user: fourUser, sent: own, stamped: four},
}

// pair is a ratio of two arms.
type pair struct{ title, arm, base string }

var pairs = []pair{
	{"noise: stock / stock", "stock again", "stock"},
	{"not stamped", "ours", "stock"},
	{"1 header stamped / sent", "ours, stamps 1", "stock, client sends 1"},
	{"4 headers stamped / sent", "ours, stamps 4", "stock, client sends 4"},
	{"4 stamped + 2 sent / 6 sent", "ours, client sends 2, stamps 4", "stock, client sends 2+4"},
}

// idlePairs compares messages without subscribers. The floor cannot be reached: nothing is stamped then, and what is left is
// the stock server's own difference between messages with and without a header.
var idlePairs = []pair{
	{"floor: stock, none sent / 1 sent", "stock", "stock, client sends 1"},
	{"1 header to stamp / none", "ours, stamps 1", "ours"},
	{"4 headers to stamp / none", "ours, stamps 4", "ours"},
}

// stampPairs are the pairs whose ratio must not be above 1: they compare headers from the client with the same headers stamped.
var stampPairs = pairs[2:]

// cell is one size of payload and one number of subscribers.
type cell struct{ size, subs int }

// chunkBytes is about how much of the stream of messages one write takes: a few
// of the server's reads, which are of 64 KB at most.
const chunkBytes = 256 << 10

// chunk is how many messages are written at once: fewer if each goes to many subscribers.
func (c cell) chunk() int { return max(1, chunkBytes/len(message(c.size, nil))/max(1, c.subs/10)) }

// count returns how many messages cost a stock server about this much CPU time, in whole chunks. It is the same for all arms of
// a cell. The costs, in ns, are those of a machine of 2026. A message that arrives in pieces costs more, because it gets a
// buffer of its own.
func (c cell) count(budget time.Duration) int {
	cost := 200 + c.size/4 + c.subs*(300+c.size/3)
	if c.size >= 64<<10 {
		cost += c.size * 3 / 4
	}
	chunks := int(budget) / (cost * c.chunk())
	return c.chunk() * max(1, chunks)
}

// plan is what a run measures.
type plan struct {
	only   []string // parts of the run, all when empty
	rounds int
	budget time.Duration // CPU time of one measurement
	cells  []cell

	studies     []study
	studyRounds int

	crowdRounds, burst, crowd int // connections opened at once, and in all
	calloutCrowd              int // connections that a callout lets in

	growthRounds int

	calloutRounds, callouts int

	reloadRounds, reloadConns int

	connectRounds, connects int

	cliRounds int
	cliLoads  []cliLoad
}

func newPlan(quick bool) *plan {
	if quick {
		return &plan{
			rounds: 3, budget: 10 * time.Millisecond,
			cells:       cells([]int{16, 1024, 65536, 1 << 20}, []int{0, 1}),
			studyRounds: 2, studies: studies(),
			crowdRounds: 1, burst: 500, crowd: 1000, calloutCrowd: 500,
			growthRounds:  3,
			calloutRounds: 2, callouts: 500,
			reloadRounds: 1, reloadConns: 200,
			connectRounds: 2, connects: 50,
			cliRounds: 1, cliLoads: []cliLoad{{128, 50000}},
		}
	}
	return &plan{
		rounds: 40, budget: 20 * time.Millisecond,
		cells:       cells([]int{16, 128, 1024, 4096, 16384, 65536, 262144, 1 << 20}, []int{0, 1, 10}),
		studyRounds: 30, studies: studies(),
		crowdRounds: 5, burst: 10000, crowd: 18000, calloutCrowd: 5000,
		growthRounds:  30,
		calloutRounds: 20, callouts: 3000,
		reloadRounds: 3, reloadConns: 2000,
		connectRounds: 25, connects: 200,
		cliRounds: 5, cliLoads: []cliLoad{{128, 500000}, {1024, 200000}, {16384, 20000}},
	}
}

// has reports whether a part of the run is wanted.
func (p *plan) has(part string) bool { return len(p.only) == 0 || slices.Contains(p.only, part) }

// chooseStudies leaves out the studies that are not named.
func (p *plan) chooseStudies(names string) error {
	if names == "" {
		return nil
	}
	all := p.studies
	p.studies = nil
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(s study) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("there is no study %q", name)
		}
		p.studies = append(p.studies, all[i])
	}
	return nil
}

// choose takes other sizes and numbers of subscribers, where they are not empty.
func (p *plan) choose(sizes, subs string) error {
	all := [2][]int{p.sizes(), p.subscribers()}
	for i, list := range []string{sizes, subs} {
		if list == "" {
			continue
		}
		all[i] = nil
		for text := range strings.SplitSeq(list, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return fmt.Errorf("%q is not a number of bytes or subscribers", text)
			}
			all[i] = append(all[i], n)
		}
	}
	p.cells = cells(all[0], all[1])
	return nil
}

func cells(sizes, subs []int) []cell {
	var all []cell
	for _, n := range subs {
		for _, size := range sizes {
			all = append(all, cell{size, n})
		}
	}
	return all
}

// shuffled returns a copy of s in random order.
func shuffled[T any](s []T) []T {
	s = slices.Clone(s)
	rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	return s
}
