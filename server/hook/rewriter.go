package hook

import (
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/policy"
	"stamp/internal/proof"
	"stamp/internal/stamp"
)

// rewriter rewrites the messages that one connection publishes: it removes headers that
// only the server may write, and adds the connection's stamp and the proof of it.
type rewriter struct {
	stamp     *stamp.Stamp
	unstamped *[]string // prefixes of subjects whose messages get no stamp
	proofs    *proofs   // nil: messages are not proven
	count     *shard
	forgeries forgeryReporter
}

// proofs is how the messages of a connection are proven. It is apart from rewriter, since most
// connections have none, and an idle one should hold little.
type proofs struct {
	prover *proof.Prover
	sign   stamp.Subjects // on which the proof is a signature
}

// newProofs returns how messages are proven with a grant, or nil.
func newProofs(g *policy.Grant) *proofs {
	if g.Prover == nil {
		return nil
	}
	return &proofs{g.Prover, g.Sign}
}

var _ natsserver.ExtendedRewriter = (*rewriter)(nil)

// Prefixes of subjects on which servers talk to each other. Messages on these get no stamp:
// a header would make them unreadable, or too long for a limit. Headers that only the server
// may write are removed there as everywhere. A message without a stamp claims no identity,
// so a client gains nothing if it chooses a subject with such a prefix.
var (
	// unstampedAlways: a server writes the chunks of a stream's snapshot to files as they
	// come, with any header, and an empty message ends the snapshot (upstream,
	// jetstream_api.go, processStreamRestore). Raft messages are binary, without a header
	// block (raft.go).
	unstampedAlways = []string{"$JS.SNAPSHOT.RESTORE.", "$NRG."}
	// unstampedFromLeafnodes: what a mirror or source gets from a stream on the other side of
	// a leafnode connection (stream.go, setupMirrorConsumer). A stored message that fits the
	// limits there must fit them here, too, or the mirror would request it again and again.
	unstampedFromLeafnodes = append(slices.Clip(unstampedAlways), "$JS.M.", "$JS.S.")
	// unstampedInSystem: in the system account, answers, and what servers behind a leafnode
	// publish. The server reads some of it without looking for a header.
	unstampedInSystem = []string{"$", "_INBOX.", "_R_", "_GR_"}
)

// unstampedSubjects returns the prefixes of subjects on which a connection is not stamped.
func unstampedSubjects(info *natsserver.AttachInfo) *[]string {
	switch {
	case info.System:
		return &unstampedInSystem
	case info.Kind == natsserver.LEAF:
		return &unstampedFromLeafnodes
	}
	return &unstampedAlways
}

// adds reports whether a message gets the stamp.
func (w *rewriter) adds(m *natsserver.PublishedMessage) bool {
	if m.Fixed || !w.stamp.Adds() {
		return false
	}
	return !slices.ContainsFunc(*w.unstamped, func(prefix string) bool {
		return len(m.Subject) >= len(prefix) && string(m.Subject[:len(prefix)]) == prefix
	})
}

// Rewrite implements natsserver.Rewriter.
func (w *rewriter) Rewrite(dst []byte, m *natsserver.PublishedMessage) ([]byte, error) {
	adds := w.adds(m)
	if !adds && len(m.Header) == 0 {
		return dst, nil
	}
	var report stamp.Report
	var out []byte
	var err error
	switch {
	case !adds:
		out, err = w.stamp.Strip(dst, m.Header, &report)
	case w.proofs == nil:
		out, err = w.stamp.AppendReport(dst, m.Subject, m.Header, &report)
	default:
		published := stamp.Published{Subject: m.Subject, Block: m.Header, Payload: m.Payload, Sign: w.proofs.sign.Match(m.Subject)}
		out, err = w.stamp.AppendProven(dst, &published, w.proofs.prover, &report)
	}
	switch {
	case err != nil:
		w.count.refused.Add(1)
		w.forgeries.blockRefused(err)
		return out, err
	case report.Stripped > 0:
		w.count.stripped.Add(uint64(report.Stripped))
		w.forgeries.linesStripped(&report)
	}
	if adds {
		w.count.stamped.Add(1)
		w.count.bytes.Add(uint64(len(out) - len(dst)))
	}
	w.count.addProof(report.Proof)
	return out, nil
}

// Growth implements natsserver.Rewriter.
func (w *rewriter) Growth() int { return w.stamp.MaxLen() }

// Names implements natsserver.ExtendedRewriter.
func (w *rewriter) Names() []string { return w.stamp.Names() }

// Strips implements natsserver.ExtendedRewriter.
func (w *rewriter) Strips(name string) bool { return w.stamp.Strips(name) }

// unchanged is the rewriter of an MQTT connection to whose messages nothing is added. The server
// replaces the rewriter of a connection whose session ends, so that the connection's will is not
// published; without a rewriter the will would be.
type unchanged struct{}

// Rewrite implements natsserver.Rewriter.
func (unchanged) Rewrite(dst []byte, m *natsserver.PublishedMessage) ([]byte, error) {
	return append(dst, m.Header...), nil
}

// Growth implements natsserver.Rewriter.
func (unchanged) Growth() int { return 0 }

// Names implements natsserver.ExtendedRewriter.
func (unchanged) Names() []string { return nil }

// Strips implements natsserver.ExtendedRewriter.
func (unchanged) Strips(string) bool { return false }
