package hook

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/stamp"
)

// warningLog keeps the warnings of a server.
type warningLog struct {
	natsserver.Logger // the other methods are not called
	mu                sync.Mutex
	lines             []string
}

func (l *warningLog) Warnf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, v...))
}

// all returns the lines so far.
func (l *warningLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// strip returns the report of a message with these header lines, all of which are removed.
func strip(t *testing.T, names ...string) *stamp.Report {
	t.Helper()
	set, err := stamp.NewRuleSet("*")
	if err != nil {
		t.Fatal(err)
	}
	st, err := stamp.Compile(nil, stamp.Options{Strip: []*stamp.NameSet{set}})
	if err != nil {
		t.Fatal(err)
	}
	var r stamp.Report
	if _, err := st.AppendReport(nil, nil, []byte("NATS/1.0\r\n"+strings.Join(names, ": x\r\n")+": x\r\n\r\n"), &r); err != nil || r.Stripped != len(names) {
		t.Fatalf("%d lines of %q were removed, error %v", r.Stripped, names, err)
	}
	return &r
}

func reporter(t *testing.T, limit *forgeryLimit) (*forgeryReporter, *warningLog) {
	t.Helper()
	s, log := inert(t), &warningLog{}
	s.SetLogger(log, false, false)
	f := newForgeryReporter(limit, &natsserver.AttachInfo{Server: s, Kind: natsserver.CLIENT, CID: 7, AttachedAccount: natsserver.AttachedAccount{Account: "APP"}})
	return &f, log
}

// A report names each removed header once, shortened, and no more than there is room for. It counts all lines.
func TestForgeryNames(t *testing.T) {
	f, _ := reporter(t, &forgeryLimit{since: time.Now(), sent: forgeryBurst})
	f.linesStripped(strip(t, "A", "a", "A"))
	f.linesStripped(strip(t, "A", strings.Repeat("n", maxShownName+1)))
	e := &f.getUnreported().event
	if want := []string{"A", "a", strings.Repeat("n", maxShownName)}; !slices.Equal(e.Headers, want) || e.Lines != 5 || e.Count != 2 {
		t.Errorf("the report counts %d messages and %d lines, and names %q", e.Count, e.Lines, e.Headers)
	}
	for i := range 2 * forgeryNames {
		f.linesStripped(strip(t, fmt.Sprint("N", i)))
	}
	if len(e.Headers) != forgeryNames || e.Count != 2+2*forgeryNames {
		t.Errorf("the report counts %d messages and has %d names, want %d and %d", e.Count, len(e.Headers), 2+2*forgeryNames, forgeryNames)
	}
}

// The first forgery of a connection is reported at once. What follows within the interval is summed up in one report when the
// interval ends, though the connection forges nothing more, or is closed.
func TestForgeryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := reporter(t, &forgeryLimit{})
		for _, name := range []string{"A", "B", "C"} {
			f.linesStripped(strip(t, name))
		}
		if lines := log.all(); len(lines) != 1 || !strings.HasSuffix(lines[0], `["A"] (1 messages)`) {
			t.Errorf("at first the log has %q", lines)
		}
		time.Sleep(forgeryInterval)
		synctest.Wait()
		if lines := log.all(); len(lines) != 2 || !strings.HasSuffix(lines[1], `["B" "C"] (2 messages)`) {
			t.Errorf("expected one summary after the interval; the log has %q", lines)
		}
		time.Sleep(2 * forgeryInterval)
		f.linesStripped(strip(t, "D"))
		synctest.Wait()
		if lines := log.all(); len(lines) != 3 || !strings.HasSuffix(lines[2], `["D"] (1 messages)`) {
			t.Errorf("expected a new report after two quiet intervals; the log has %q", lines)
		}
	})
}

// All connections together get a number of reports in an interval. The others are reported in the next one, of as many
// connections as may wait.
func TestForgeryBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &forgeryLimit{}
		var logs []*warningLog
		reports := func() (n int) {
			synctest.Wait()
			for _, log := range logs {
				n += len(log.all())
			}
			return n
		}
		for range forgeryBurst + 2 {
			f, log := reporter(t, limit)
			f.linesStripped(strip(t, "A"))
			logs = append(logs, log)
		}
		if n := reports(); n != forgeryBurst {
			t.Errorf("%d connections of %d were reported, want the burst", n, forgeryBurst+2)
		}
		time.Sleep(forgeryInterval)
		if n := reports(); n != forgeryBurst+2 {
			t.Errorf("%d connections of %d were reported after the interval", n, forgeryBurst+2)
		}
	})
}

// Connections that forge and leave cannot fill the memory: a number of them wait for a report, and of the others nothing is kept.
func TestForgeryWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &forgeryLimit{}
		first, log := reporter(t, limit)
		for range forgeryBurst + maxUnreported + 3 {
			f := &forgeryReporter{server: first.server, limit: limit}
			f.linesStripped(strip(t, "A"))
		}
		waiting := func() int {
			limit.mu.Lock()
			defer limit.mu.Unlock()
			return len(limit.waiting)
		}
		if waiting() != maxUnreported || len(log.all()) != forgeryBurst {
			t.Errorf("%d connections wait and %d were reported, which are not the bounds", waiting(), len(log.all()))
		}
		for i := range maxUnreported / forgeryBurst {
			time.Sleep(forgeryInterval)
			synctest.Wait()
			if want, n := (i+2)*forgeryBurst, len(log.all()); n != want {
				t.Fatalf("%d reports after %d intervals, want %d", n, i+1, want)
			}
		}
		if waiting() != 0 {
			t.Errorf("%d connections still wait for a report, want none", waiting())
		}
	})
}
