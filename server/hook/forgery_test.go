package hook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/stamp"
)

// warningLog keeps the warnings of a server.
type warningLog struct {
	natsserver.Logger // the other methods are not called
	lines             []string
}

func (l *warningLog) Warnf(format string, v ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, v...))
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
		t.Errorf("%d messages, %d lines, names %q", e.Count, e.Lines, e.Headers)
	}
	for i := range 2 * forgeryNames {
		f.linesStripped(strip(t, fmt.Sprint("N", i)))
	}
	if len(e.Headers) != forgeryNames || e.Count != 2+2*forgeryNames {
		t.Errorf("%d messages, %d names", e.Count, len(e.Headers))
	}
}

// The first forgery of a connection is reported at once, and what follows is summed up in the next report.
func TestForgeryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := reporter(t, &forgeryLimit{})
		for _, name := range []string{"A", "B", "C"} {
			f.linesStripped(strip(t, name))
		}
		time.Sleep(forgeryInterval)
		f.linesStripped(strip(t, "D"))
		if len(log.lines) != 2 || !strings.HasSuffix(log.lines[0], `["A"] (1 messages)`) || !strings.HasSuffix(log.lines[1], `["B" "C" "D"] (3 messages)`) {
			t.Errorf("the log has %q", log.lines)
		}
	})
}

// All connections together get a number of reports in an interval, and then none until it is over.
func TestForgeryBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit, lines := &forgeryLimit{}, 0
		forge := func() {
			f, log := reporter(t, limit)
			f.linesStripped(strip(t, "A"))
			lines += len(log.lines)
		}
		for range forgeryBurst + 2 {
			forge()
		}
		if lines != forgeryBurst {
			t.Errorf("%d reports of %d connections", lines, forgeryBurst+2)
		}
		time.Sleep(forgeryInterval)
		if forge(); lines != forgeryBurst+1 {
			t.Error("no report in the next interval")
		}
	})
}
