package hook

import (
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/stamp"
)

// conn is what one connection publishes with.
type conn struct {
	stamp     *stamp.Stamp
	unstamped []string // beginnings of subjects on which nothing is added
	names     []string
	count     *shard
	forgery   forger
}

var _ natsserver.ExtendedRewriter = (*conn)(nil)

// Subjects on which nothing is added to a message, by what they begin with. Servers talk to each other
// there: a header would break what they say, or stop it where it grows above a limit. Lines that are the
// server's to write are removed there as everywhere. A message without the stamp is nobody's, so that
// whoever gives a subject of his own such a name gains nothing.
var (
	// always: a snapshot of a stream is written to the stream's files as it comes, header and all, and ends
	// with an empty message (upstream, jetstream_api.go, processStreamRestore); raft's messages are bytes of
	// its own, and have no header block (raft.go).
	always = []string{"$JS.SNAPSHOT.RESTORE.", "$NRG."}
	// overLeafnodes: what a mirror or a source gets from a stream on the other side (stream.go,
	// setupMirrorConsumer). A stored message that fits the limits must fit them here too, or it is asked for
	// again and again.
	overLeafnodes = append(slices.Clip(always), "$JS.M.", "$JS.S.")
	// ofSystem: answers, and what servers behind a leafnode tell the system account, which reads some of it
	// without looking for a header.
	ofSystem = []string{"$", "_INBOX.", "_R_", "_GR_"}
)

// unstampedSubjects are those of one connection.
func unstampedSubjects(info *natsserver.AttachInfo) []string {
	switch {
	case info.System:
		return ofSystem
	case info.Kind == natsserver.LEAF:
		return overLeafnodes
	}
	return always
}

// adds tells whether lines are put on a message.
func (c *conn) adds(m *natsserver.PublishedMessage) bool {
	if m.Fixed || !c.stamp.Adds() {
		return false
	}
	return !slices.ContainsFunc(c.unstamped, func(begin string) bool {
		return len(m.Subject) >= len(begin) && string(m.Subject[:len(begin)]) == begin
	})
}

// Rewrite implements natsserver.Rewriter.
func (c *conn) Rewrite(dst []byte, m *natsserver.PublishedMessage) ([]byte, error) {
	adds := c.adds(m)
	if !adds && len(m.Header) == 0 {
		return dst, nil
	}
	var report stamp.Report
	var out []byte
	var err error
	if adds {
		out, err = c.stamp.AppendReport(dst, m.Subject, m.Header, &report)
	} else {
		out, err = c.stamp.Strip(dst, m.Header, &report)
	}
	switch {
	case err != nil:
		c.count.refused.Add(1)
		c.forgery.refused(err)
		return out, err
	case report.Stripped > 0:
		c.count.stripped.Add(uint64(report.Stripped))
		c.forgery.stripped(&report)
	}
	if adds {
		c.count.stamped.Add(1)
		c.count.bytes.Add(uint64(len(out) - len(dst)))
	}
	return out, nil
}

// Growth implements natsserver.Rewriter.
func (c *conn) Growth() int { return c.stamp.MaxLen() }

// Names implements natsserver.ExtendedRewriter.
func (c *conn) Names() []string { return c.names }

// Strips implements natsserver.ExtendedRewriter.
func (c *conn) Strips(name string) bool { return c.stamp.Strips(name) }
