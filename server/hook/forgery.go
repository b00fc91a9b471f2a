package hook

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nuid"

	"stamp/internal/stamp"
)

// forgerySubject is the subject of Forgery events about the connections of an account. They
// are published in the system account.
const forgerySubject = "$SYS.ACCOUNT.%s.HEADERS.FORGERY"

// ForgeryType is the type of Forgery.
const ForgeryType = "io.stamp.server.advisory.v1.header_forgery"

// Forgery is the event that a connection published headers that only the server may write,
// which were removed, or a header block that was refused. It contains names but no values.
type Forgery struct {
	natsserver.TypedEvent
	Server natsserver.ServerInfo `json:"server"`
	Client ForgeryClient         `json:"client"`
	// Headers are the names of headers that were removed, as the client spelled them; at most
	// forgeryNames.
	Headers []string `json:"headers,omitempty"`
	// Lines is the number of header lines that were removed.
	Lines uint64 `json:"lines,omitempty"`
	// Error says why the last header block that was refused was refused.
	Error string `json:"error,omitempty"`
	// Count is the number of messages that this event reports.
	Count uint64 `json:"count"`
}

// ForgeryClient is the connection that published the messages. Name is the name that the
// client gave itself.
type ForgeryClient struct {
	ID      uint64 `json:"id"`
	Kind    string `json:"kind"`
	Host    string `json:"host,omitempty"`
	Name    string `json:"name,omitempty"`
	User    string `json:"user,omitempty"`
	Account string `json:"account"`
}

// leafnodeKind is the kind of a leafnode connection in events.
const leafnodeKind = "Leafnode"

// The first forgery of a connection is reported at once. What the connection does in the
// forgeryInterval after a report is summed up and reported at its end, also if the connection is
// closed by then. All connections together get at most forgeryBurst reports in forgeryInterval.
const (
	forgeryInterval = 10 * time.Second
	forgeryBurst    = 100
	forgeryNames    = 16 // headers that a report names
	maxShownName    = 64 // bytes of a name that a report or warning shows
	// maxUnreported is how many connections may wait for their next report. Each is kept until
	// then, so without a limit, strangers who connect, forge and leave could fill the memory.
	maxUnreported = 10 * forgeryBurst
)

// forgeryLimit limits the reports of all connections, and keeps those that are due later. One timer
// serves all of them, and it runs only while something is due.
type forgeryLimit struct {
	mu      sync.Mutex
	since   time.Time          // the beginning of the interval
	sent    int                // reports in the interval
	waiting []*forgeryReporter // connections with something to report, at most maxUnreported
	timer   *time.Timer        // nil before the first connection waits
	firesAt time.Time          // zero: the timer does not run
}

// admit counts a report, and returns whether it may be sent.
func (l *forgeryLimit) admit(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= forgeryInterval {
		l.since, l.sent = now, 0
	}
	l.sent++
	return l.sent <= forgeryBurst
}

// wait makes the timer report what f has summed up, at a time when the limits permit it: not before
// due, and in the next interval if this one has no report left. It returns false if too many
// connections wait.
func (l *forgeryLimit) wait(f *forgeryReporter, due time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxUnreported {
		return false
	}
	l.waiting = append(l.waiting, f)
	if next := l.since.Add(forgeryInterval); l.sent >= forgeryBurst && due.Before(next) {
		due = next
	}
	switch {
	case !l.firesAt.IsZero() && !due.Before(l.firesAt):
		return true
	case l.timer == nil:
		l.timer = time.AfterFunc(time.Until(due), l.reportWaiting)
	default:
		l.timer.Reset(time.Until(due))
	}
	l.firesAt = due
	return true
}

// reportWaiting reports what is due. What is not due yet, or is over the limit, waits again.
func (l *forgeryLimit) reportWaiting() {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting, l.firesAt = nil, time.Time{}
	l.mu.Unlock()
	for _, f := range waiting {
		f.reportRest()
	}
}

// forgeryReporter reports the forgeries of one connection. The connection's read loop uses it
// and, for an MQTT connection, the goroutine that closes the connection and publishes its will.
// Few connections forge headers, so the others have no unreportedForgery.
type forgeryReporter struct {
	server     *natsserver.Server
	client     ForgeryClient
	limit      *forgeryLimit
	solicited  bool // a leafnode connection that this server made
	unreported atomic.Pointer[unreportedForgery]
}

// unreportedForgery sums up what a connection did since its last report.
type unreportedForgery struct {
	mu         sync.Mutex
	reportedAt time.Time // time of the last report
	waits      bool      // the timer will report it
	event      Forgery
}

func newForgeryReporter(limit *forgeryLimit, info *natsserver.AttachInfo) forgeryReporter {
	kind := "Client"
	if info.Kind == natsserver.LEAF {
		kind = leafnodeKind
	}
	user := info.User
	if uc := info.UserClaims; uc != nil && uc.Name != "" {
		user = uc.Name
	}
	return forgeryReporter{server: info.Server, limit: limit, solicited: info.Solicited, client: ForgeryClient{
		ID: info.CID, Kind: kind, Host: info.Host, Name: info.Name, User: user, Account: info.Account,
	}}
}

// getUnreported returns what is not reported yet. The first call creates it.
func (f *forgeryReporter) getUnreported() *unreportedForgery {
	if u := f.unreported.Load(); u != nil {
		return u
	}
	f.unreported.CompareAndSwap(nil, &unreportedForgery{})
	return f.unreported.Load()
}

// linesStripped notes a message from which header lines were removed.
func (f *forgeryReporter) linesStripped(r *stamp.Report) {
	u := f.getUnreported()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.event.Lines += uint64(r.Stripped)
	if len(u.event.Headers) < forgeryNames {
		for _, name := range r.Names() {
			u.addHeader(name)
		}
	}
	f.countAndReport(u)
}

// addHeader adds the name of a removed header, unless it is there or too many are. The lock of u is held.
func (u *unreportedForgery) addHeader(name []byte) {
	shown := string(name[:min(len(name), maxShownName)])
	if headers := u.event.Headers; len(headers) < forgeryNames && !slices.Contains(headers, shown) {
		u.event.Headers = append(headers, shown)
	}
}

// blockRefused notes a message whose header block was refused.
func (f *forgeryReporter) blockRefused(err error) {
	u := f.getUnreported()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.event.Error = err.Error()
	f.countAndReport(u)
}

// countAndReport counts a message. It sends a report if the limits permit one now, and otherwise
// leaves it to the timer. The lock of u is held.
func (f *forgeryReporter) countAndReport(u *unreportedForgery) {
	u.event.Count++
	if !u.waits {
		f.report(u)
	}
}

// reportRest is called by the timer. It reports what the connection did since its last report.
func (f *forgeryReporter) reportRest() {
	u := f.getUnreported()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waits = false
	f.report(u)
}

// report sends a report if the limits permit one now, and otherwise lets it wait. The lock of u is
// held.
func (f *forgeryReporter) report(u *unreportedForgery) {
	now := time.Now()
	if due := u.reportedAt.Add(forgeryInterval); now.Before(due) || !f.limit.admit(now) {
		u.waits = f.limit.wait(f, due)
		return
	}
	u.reportedAt = now
	e := u.event
	u.event = Forgery{}
	e.Client = f.client
	e.TypedEvent = natsserver.TypedEvent{Type: ForgeryType, ID: nuid.Next(), Time: now.UTC()}
	f.server.Warnf("%s", f.warning(&e))
	f.server.PublishEvent(fmt.Sprintf(forgerySubject, f.client.Account), &e.Server, &e)
}

// warning returns the log line for an event. Headers from a leafnode are seldom forged: mostly
// the server there has stamped them. So the warning says which setting permits them.
func (f *forgeryReporter) warning(e *Forgery) string {
	c := &f.client
	switch {
	case len(e.Headers) == 0:
		return fmt.Sprintf("cid:%d - Header forgery by user %q of account %q: header block refused: %s (%d messages)", c.ID, c.User, c.Account, e.Error, e.Count)
	case c.Kind != leafnodeKind:
		return fmt.Sprintf("cid:%d - Header forgery by user %q of account %q: removed headers that this user may not publish: %q (%d messages)", c.ID, c.User, c.Account, e.Headers, e.Count)
	case f.solicited:
		return fmt.Sprintf("lid:%d - Removed headers that came from the leafnode's hub at %s in account %q: %q (%d messages); to accept the headers that the hub stamps, permit their names with header_permissions.publish of the remote",
			c.ID, c.Host, c.Account, e.Headers, e.Count)
	}
	return fmt.Sprintf("lid:%d - Removed headers that came from the leafnode %q, user %q of account %q: %q (%d messages); if the server there stamps and you trust it, permit their names with header_permissions.publish of the user",
		c.ID, c.Name[:min(len(c.Name), maxShownName)], c.User, c.Account, e.Headers, e.Count)
}
