package hook

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nuid"

	"stamp/server/stamp"
)

// forgerySubject is where an account's forgeries are published, in the system account.
const forgerySubject = "$SYS.ACCOUNT.%s.HEADERS.FORGERY"

// ForgeryType is the type of Forgery.
const ForgeryType = "io.stamp.server.advisory.v1.header_forgery"

// Forgery is the event that a connection published lines that are the server's to write,
// which were taken off, or a header block that was refused. It holds names, never values.
type Forgery struct {
	natsserver.TypedEvent
	Server natsserver.ServerInfo `json:"server"`
	Client ForgeryClient         `json:"client"`
	// Headers are names of the lines that were taken off, as the client spelled them; at most forgeryNames.
	Headers []string `json:"headers,omitempty"`
	// Lines is how many lines were taken off.
	Lines uint64 `json:"lines,omitempty"`
	// Error is why the last block that was refused was.
	Error string `json:"error,omitempty"`
	// Count is how many messages it tells of.
	Count uint64 `json:"count"`
}

// ForgeryClient is who did it. Name is what the client calls itself.
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

// A connection that forges is reported at once, and then at most once in forgeryEvery
// with what it did since; at most forgeryNames headers are named. All connections
// together are reported forgeryBurst times in forgeryEvery.
const (
	forgeryEvery = 10 * time.Second
	forgeryNames = 16
	forgeryBurst = 100
	maxName      = 64 // bytes that are shown of a name
)

// forgery limits the reports of all connections.
type forgery struct {
	mu    sync.Mutex
	since time.Time
	sent  int
}

func (f *forgery) allow(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.since) >= forgeryEvery {
		f.since, f.sent = now, 0
	}
	f.sent++
	return f.sent <= forgeryBurst
}

// forger is what is known of one connection. It is used by the connection's read loop,
// and by the one that ends a MQTT connection. Few connections forge, so that there is no more of
// the others than is needed for a report.
type forger struct {
	server *natsserver.Server
	client ForgeryClient
	limit  *forgery
	// solicited tells that this server made the leafnode connection.
	solicited bool
	deeds     atomic.Pointer[deeds]
}

// deeds are what a forger did.
type deeds struct {
	mu      sync.Mutex
	last    time.Time
	pending Forgery
}

func (f *forgery) of(info *natsserver.AttachInfo) forger {
	kind := "Client"
	if info.Kind == natsserver.LEAF {
		kind = leafnodeKind
	}
	user := info.User
	if uc := info.UserClaims; uc != nil && uc.Name != "" {
		user = uc.Name
	}
	return forger{server: info.Server, limit: f, solicited: info.Solicited, client: ForgeryClient{
		ID: info.CID, Kind: kind, Host: info.Host, Name: info.Name, User: user, Account: info.Account,
	}}
}

func (f *forger) known() *deeds {
	if d := f.deeds.Load(); d != nil {
		return d
	}
	f.deeds.CompareAndSwap(nil, &deeds{})
	return f.deeds.Load()
}

func (f *forger) stripped(r *stamp.Report) {
	d := f.known()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending.Lines += uint64(r.Stripped)
	for _, name := range r.Names() {
		if h := d.pending.Headers; len(h) < forgeryNames {
			if shown := string(name[:min(len(name), maxName)]); !slices.Contains(h, shown) {
				d.pending.Headers = append(h, shown)
			}
		}
	}
	f.report(d)
}

func (f *forger) refused(err error) {
	d := f.known()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending.Error = err.Error()
	f.report(d)
}

// report reports what is pending, when that may be done now. The lock of d is held.
func (f *forger) report(d *deeds) {
	d.pending.Count++
	now := time.Now()
	if now.Sub(d.last) < forgeryEvery || !f.limit.allow(now) {
		return
	}
	d.last = now
	e := d.pending
	d.pending = Forgery{}
	e.Client = f.client
	e.TypedEvent = natsserver.TypedEvent{Type: ForgeryType, ID: nuid.Next(), Time: now.UTC()}
	f.server.Warnf("%s", f.warning(&e))
	f.server.PublishEvent(fmt.Sprintf(forgerySubject, f.client.Account), &e.Server, &e)
}

// warning is an event as the log shows it. What comes from a leafnode was mostly stamped by the server there, and not
// forged by anybody: then the warning says which setting takes it.
func (f *forger) warning(e *Forgery) string {
	c := &f.client
	switch {
	case len(e.Headers) == 0:
		return fmt.Sprintf("cid:%d - Header forgery by user %q of account %q: header block refused: %s (%d messages)", c.ID, c.User, c.Account, e.Error, e.Count)
	case c.Kind != leafnodeKind:
		return fmt.Sprintf("cid:%d - Header forgery by user %q of account %q: lines taken off that are not its to write: %q (%d messages)", c.ID, c.User, c.Account, e.Headers, e.Count)
	case f.solicited:
		return fmt.Sprintf("lid:%d - Headers from the leafnode's hub at %s, in account %q, taken off: %q (%d messages); to take what the hub's servers stamp, permit the names by header_permissions.publish of the remote",
			c.ID, c.Host, c.Account, e.Headers, e.Count)
	}
	return fmt.Sprintf("lid:%d - Headers from the leafnode %q, user %q of account %q, taken off: %q (%d messages); if the server there stamps and you trust it, permit the names by header_permissions.publish of the user",
		c.ID, c.Name[:min(len(c.Name), maxName)], c.User, c.Account, e.Headers, e.Count)
}
