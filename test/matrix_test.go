package test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// messageRule checks one message that came in by one way and was read by another.
type messageRule struct {
	id, name string
	// fault returns what is wrong with the message that trusted and reader see, or "".
	fault func(in *wayIn, out *wayOut, trusted, reader *sighting) string
}

// messageRules are columns of both tables. To add a rule, add an entry.
var messageRules = []messageRule{
	{"stamp", "stamp", func(_ *wayIn, out *wayOut, trusted, reader *sighting) string {
		return firstFault(expectValues(trusted, "Session", secret), expectValues(trusted, "Roles", "x", "y"), expectValues(reader, "Roles", "x", "y"))
	}},
	{"bound", "bound to subjects", func(_ *wayIn, out *wayOut, trusted, reader *sighting) string {
		return firstFault(expectValues(trusted, "Token", "scoped"), expectValues(reader, "Token", "scoped"), expectValues(trusted, "Apart"), expectValues(reader, "Apart"))
	}},
	{"strip", "client's copies", func(in *wayIn, _ *wayOut, trusted, reader *sighting) string {
		for _, s := range []*sighting{trusted, reader} {
			if strings.Contains(s.text, forgery) {
				return "a forged header is there"
			}
			if fault := expectValues(s, "Own", "1"); fault != "" {
				return fault
			}
		}
		return ""
	}},
	{"sealed", "sealed", func(in *wayIn, out *wayOut, trusted, reader *sighting) string {
		if exposes(reader.text, secret) || exposes(reader.text, ownSecret) {
			return "the reader without permission sees it"
		}
		if !out.payloadOnly && !in.noHeaders {
			return expectValues(trusted, "Hidden", ownSecret)
		}
		return ""
	}},
	{"provenance", "provenance", func(in *wayIn, _ *wayOut, trusted, reader *sighting) string {
		return firstFault(provenance(in, trusted), provenance(in, reader))
	}},
	{"proof", "proof", func(in *wayIn, _ *wayOut, trusted, reader *sighting) string {
		for _, s := range []*sighting{trusted, reader} {
			if exposes(s.text, hush) {
				return "an encrypted value is readable"
			}
		}
		p, err := matrixKeys().Check(trusted.header, []byte(in.token()))
		if err != nil {
			return err.Error()
		}
		for name, want := range map[string][]string{"Session": {secret}, "Hush": {hush, "second"}, "Roles": {"x", "y"}, "Token": {"scoped"}} {
			if got := p.Stamped[name]; !slices.Equal(got, want) {
				return fmt.Sprintf("%d values of %s are proven, expected %d", len(got), name, len(want))
			}
		}
		return ""
	}},
}

func firstFault(faults ...string) string {
	for _, fault := range faults {
		if fault != "" {
			return fault
		}
	}
	return ""
}

func expectValues(s *sighting, name string, want ...string) string {
	if got := s.header[name]; !slices.Equal(got, want) {
		return fmt.Sprintf("%s has %d values, not the expected %d; the headers are %q", name, len(got), len(want), slices.Sorted(maps.Keys(s.header)))
	}
	return ""
}

func provenance(in *wayIn, s *sighting) string {
	if fault := expectValues(s, "Stamp-Account", cmp.Or(in.account, "APP")); fault != "" {
		return fault
	}
	subjects, times := s.header["Stamp-Subject"], s.header["Stamp-Time"]
	if len(subjects) != 1 || len(times) != 1 {
		return fmt.Sprintf("Stamp-Subject has %d values and Stamp-Time %d", len(subjects), len(times))
	}
	published := []string{in.subjectOf(in.token())}
	if in.published != nil {
		published = in.published(in.token())
	}
	if !slices.ContainsFunc(published, func(p string) bool {
		return subjects[0] == p || strings.HasSuffix(p, ".") && strings.HasPrefix(subjects[0], p)
	}) {
		return fmt.Sprintf("Stamp-Subject is %q, expected one of %q", subjects[0], published)
	}
	when, err := time.Parse(time.RFC3339Nano, times[0])
	if err != nil || time.Since(when).Abs() > 10*time.Minute {
		return fmt.Sprintf("Stamp-Time is %q", times[0])
	}
	return ""
}

// publishRule checks a way in with a message that must be refused.
type publishRule struct {
	id, name string
	// fault returns what is wrong, or "". patient is for a message that is known not to be refused: then fault
	// waits until it comes.
	fault func(t *testing.T, m *matrix, in *wayIn, patient bool) string
}

// publishRules are further columns of the first table. To add a rule, add an entry.
var publishRules = []publishRule{
	{"refused", "what cannot be stamped", notPublished},
	{"reply", "reply subject", func(t *testing.T, m *matrix, in *wayIn, patient bool) string {
		return m.refuses(t, patient, func(target string) {
			subject := "chk." + m.unique()
			in.publish(t, m, outgoing{As: "limited", Subject: subject, Reply: target})
		})
	}},
	{"consumer", "push consumer", func(t *testing.T, m *matrix, in *wayIn, patient bool) string {
		var faults []string
		for _, form := range []struct{ subject, config string }{
			{"CREATE.STORED", ""}, {"CREATE.STORED.%s", `,"name":"%s"`}, {"CREATE.STORED.%s.stored.>", `,"name":"%s","filter_subject":"stored.>"`},
			{"DURABLE.CREATE.STORED.%s", `,"durable_name":"%s"`},
		} {
			fault := m.refuses(t, patient, func(target string) {
				fill := func(s string) string { return strings.ReplaceAll(s, "%s", strings.ReplaceAll(target, ".", "_")) }
				m.ask(t, in, "CONSUMER."+fill(form.subject), consumer("STORED", fill(form.config), target))
			})
			if fault != "" {
				faults = append(faults, form.subject+": "+fault)
			}
		}
		return strings.Join(faults, "; ")
	}},
	{"snapshot", "snapshot", func(t *testing.T, m *matrix, in *wayIn, patient bool) string {
		return m.refuses(t, patient, func(target string) {
			m.ask(t, in, "STREAM.SNAPSHOT.STORED", fmt.Sprintf(`{"deliver_subject":%q}`, target))
		})
	}},
}

// ask publishes a request to JetStream's API, under the name that the API has for this way in.
func (m *matrix) ask(t *testing.T, in *wayIn, subject, body string) {
	t.Helper()
	subject = "$JS.API." + subject
	if in.api != nil {
		subject = in.api(subject)
	}
	in.publish(t, m, outgoing{As: "limited", Subject: subject, Payload: body})
}

// patience is how long the test waits for a message that is known to come. It takes that long only if the message
// no longer comes.
const patience = 5 * time.Second

// refuses checks that a message is refused that makes somebody publish to a target. It sends one with the target
// admin, to which the sender may not subscribe, and then two with the target ok, to which it may. Only the
// latter may arrive.
func (m *matrix) refuses(t *testing.T, patient bool, send func(target string)) string {
	t.Helper()
	forbidden := m.target(t, "admin")
	send(forbidden)
	for range 2 {
		target := m.target(t, "ok")
		send(target)
		if m.targets.within(harness.Timeout/12, target) == nil {
			return "what is permitted does not come either"
		}
	}
	limit := time.Duration(0)
	if patient {
		limit = patience
	}
	if m.targets.within(limit, forbidden) != nil {
		return "it goes where the sender may not subscribe"
	}
	return ""
}

// notPublished publishes a message that cannot be stamped: its header block is malformed or, if the publisher's
// protocol has no headers, its subject cannot be the value of Stamp-Subject. No copy of it may arrive. The messages
// after it must.
func notPublished(t *testing.T, m *matrix, in *wayIn, patient bool) string {
	publisher := in
	if in.with != "" {
		publisher = wayInOf(in.with)
	}
	s := newSightings()
	nc := m.connectOnce(t, "not published "+in.id, func() (*nats.Conn, error) { return m.a1.TryConnect(t, userInfo("trusted"), ignoreErrors) })
	s.subscribe(t, nc, "", everywhere...)
	bad := outgoing{As: "pub", Payload: m.unique()}
	if in.noHeaders {
		bad.Subject = publisher.subjectOf("\x01" + bad.Payload)
	} else {
		bad.Subject, bad.Header = publisher.subjectOf(bad.Payload), nats.Header{"A": {"b\x01"}}
	}
	publisher.publish(t, m, bad)
	for range 2 {
		good := m.unique()
		publisher.publish(t, m, outgoing{As: "pub", Subject: publisher.subjectOf(good), Payload: good})
		if s.within(harness.Timeout/12, seenAs(in.subjectOf(good), good)) == nil {
			return "the message after it does not come either"
		}
	}
	limit := time.Duration(0)
	if patient {
		limit = patience
	}
	if s.within(limit, seenAs(in.subjectOf(bad.Payload), bad.Payload)) != nil {
		return "it is published"
	}
	return ""
}

// cellNote is a reason that applies to some cells. in, out and rule are lists of ids, separated by ", "; an empty
// list has all ids.
type cellNote struct{ in, out, rule, text string }

func (n cellNote) covers(in, out, rule string) bool {
	has := func(list, id string) bool { return list == "" || slices.Contains(strings.Split(list, ", "), id) }
	return has(n.in, in) && has(n.out, out) && has(n.rule, rule)
}

// note returns the text of the first note that covers a cell, or "".
func note(notes []cellNote, in, out, rule string) string {
	for _, n := range notes {
		if n.covers(in, out, rule) {
			return n.text
		}
	}
	return ""
}

const (
	stampedIn   = "tcp, tls, websocket, compressed, inprocess, import, mqtt0, mqtt1, mqtt2, will, retained, birth, leaf, remote, reply, far reply, gateway reply"
	allMQTT     = "mqtt0, mqtt1, mqtt2, will, retained, retained copy, birth, birth certificate, birth certificate copy"
	copiesIn    = "retained copy, birth certificate, birth certificate copy"
	storedMQTT  = "retained copy, birth certificate copy"
	devicesOut  = "mqtt0, mqtt1, mqtt retained"
	answersElse = "get core, get gateway, get leaf, get mqtt0, get mqtt1"
)

// notApplicable are the cells that cannot exist, with the reason.
var notApplicable = []cellNote{
	{allMQTT, "", "strip", "a message of MQTT 3.1.1 has no headers that a client could set"},
	{storedMQTT, devicesOut, "", "it is for servers; MQTT clients get the retained message itself"},
	{"tcp, tls, websocket, compressed, inprocess, import, mqtt0, mqtt1, mqtt2, will, birth, leaf, remote, reply, far reply, gateway reply",
		"mqtt retained", "", "only retained messages and certificates are kept for those that subscribe later"},
	{"", devicesOut, "stamp, bound, strip, provenance, proof", "MQTT 3.1.1 delivers the payload alone"},
	{"remote", "", "stamp, bound, provenance, proof", "the other side has no user here, so no headers; what comes from there was published there"},
	{"remote", "-", "reply, consumer, snapshot", "the other side has no user here, whose permissions could be asked for"},
	{allMQTT, "-", "reply", "a message of MQTT 3.1.1 has no reply subject"},
	{"reply, far reply", "-", "reply", "the server passes such an answer on without a reply subject"},
	{copiesIn, "-", "reply, consumer, snapshot", "the server names the subject, which is none of JetStream's API"},
	{"birth", "-", "consumer, snapshot", "its topic begins with spBv1.0, which is no subject of JetStream's API"},
	{"reply, far reply, gateway reply", "-", "consumer, snapshot", "the answer goes to the subject that the requester named, who was judged for it"},
	{"-", "core, queue, websocket, inprocess, route, gateway, leaf, remote, import, mqtt0, mqtt1, mqtt retained, mirror, source, republish", "elsewhere",
		"a reader of this way names no subject in a request"},
	{"-", answersElse, "elsewhere", "it is the request of the stored-message API"},
}

// knownFailures are the cells whose rule does not hold yet, with the reason. When it holds, the test fails until
// the entry is removed.
var knownFailures = []cellNote{}

// tables collects the results for the cells of the tables in docs/security.md.
type tables struct {
	cells map[string][]string // the results of each cell, by its row and column
}

const (
	holds = "holds"
	fails = "**fails**: "
	never = "none: "
)

func (b *tables) note(t *testing.T, in, out, rule, fault string) {
	t.Helper()
	cell := holds
	if why := note(knownFailures, in, out, rule); why != "" {
		cell = fails + why
		if fault == "" {
			t.Errorf("%s to %s, %s: holds; remove the entry from knownFailures: %s", in, out, rule, why)
		}
	} else if fault != "" {
		t.Errorf("way in %s, way out %s, rule %s: %s", in, out, rule, fault)
	}
	b.set(in, out, rule, cell)
}

func (b *tables) set(in, out, rule, cell string) {
	if in != "-" {
		b.cells["in "+in+" "+rule] = append(b.cells["in "+in+" "+rule], cell)
	}
	if out != "-" {
		b.cells["out "+out+" "+rule] = append(b.cells["out "+out+" "+rule], cell)
	}
}

// TestMatrix reads a message of every way in by every way out, with and without permission, and checks every rule.
// It makes the tables of docs/security.md; with STAMP_WRITE_DOCS=1 it writes them there.
func TestMatrix(t *testing.T) {
	m := startMatrix(t)
	b := &tables{map[string][]string{}}
	readers := map[string][2]reader{}
	for _, out := range waysOut {
		readers[out.id] = [2]reader{out.open(t, m, "trusted"), out.open(t, m, "reader")}
	}
	m.awaitInterest(t, readers)
	for _, in := range waysIn {
		if in.publish != nil {
			in.publish(t, m, outgoing{As: "pub", Subject: in.subjectOf(in.token()), Payload: in.token(), Header: in.forgeries()})
		}
	}
	for _, in := range waysIn {
		for _, out := range waysOut {
			judgeMessage(t, b, in, out, readers[out.id])
		}
		for _, rule := range publishRules {
			if why := note(notApplicable, in.id, "-", rule.id); why != "" {
				b.set(in.id, "-", rule.id, never+why)
				continue
			}
			b.note(t, in.id, "-", rule.id, rule.fault(t, m, in, note(knownFailures, in.id, "-", rule.id) != ""))
		}
	}
	for _, out := range waysOut {
		if why := note(notApplicable, "-", out.id, "elsewhere"); why != "" {
			b.set("-", out.id, "elsewhere", never+why)
			continue
		}
		fault := m.refuses(t, note(knownFailures, "-", out.id, "elsewhere") != "", func(target string) { out.elsewhere(t, m, target) })
		b.note(t, "-", out.id, "elsewhere", fault)
	}
	if !t.Failed() {
		b.document(t)
	}
}

func (w *wayIn) forgeries() nats.Header {
	if w.noHeaders {
		return nil
	}
	return nats.Header{
		"Own": {"1"}, "Hidden": {ownSecret},
		"Session": {forgery}, "x_guard": {forgery}, "X-Guard": {forgery}, "SESSION": {forgery, forgery}, "Stamp-Subject": {forgery}, "stamp.time": {forgery}, "stamp_proof": {forgery},
	}
}

// awaitInterest waits until messages that are published on each server arrive at each reader.
func (m *matrix) awaitInterest(t *testing.T, readers map[string][2]reader) {
	t.Helper()
	for origin, nc := range map[string]*nats.Conn{
		"a1": m.conn(t, m.a1, "pub"), "a3": overProcess(t, m, "pub"), "site": m.conn(t, m.site, "pub"), "outside": m.conn(t, m.outside, "pub"),
	} {
		for _, out := range waysOut {
			for i := range readers[out.id] {
				if !out.core {
					continue
				}
				probe := &wayIn{id: "probe " + origin}
				harness.Eventually(t, fmt.Sprintf("interest of %s, %d, at %s", out.id, i, origin), func() bool {
					if err := nc.Publish(probe.subjectOf(probe.token()), []byte(probe.token())); err != nil {
						t.Fatal(err)
					}
					return readers[out.id][i](t, probe) != nil
				})
			}
		}
	}
}

func judgeMessage(t *testing.T, b *tables, in *wayIn, out *wayOut, read [2]reader) {
	t.Helper()
	var seen [2]*sighting
	for _, rule := range messageRules {
		if why := note(notApplicable, in.id, out.id, rule.id); why != "" {
			b.set(in.id, out.id, rule.id, never+why)
			continue
		}
		for i := range seen {
			if seen[i] == nil {
				seen[i] = read[i](t, in)
			}
			if seen[i] == nil {
				t.Errorf("%s to %s: the message has not come to %s", in.id, out.id, []string{"trusted", "reader"}[i])
				return
			}
		}
		b.note(t, in.id, out.id, rule.id, rule.fault(in, out, seen[0], seen[1]))
	}
}

const (
	tableBegin = "<!-- matrix: made by TestMatrix -->\n"
	tableEnd   = "<!-- end of matrix -->\n"
)

// document compares docs/security.md with the tables, or writes them there.
func (b *tables) document(t *testing.T) {
	t.Helper()
	const file = "../docs/security.md"
	text := string(must(os.ReadFile(file)))
	before, rest, ok := strings.Cut(text, tableBegin)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the markers %q and %q", file, tableBegin, tableEnd)
	}
	made := b.text()
	switch {
	case old == made:
	case os.Getenv("STAMP_WRITE_DOCS") != "":
		if err := os.WriteFile(file, []byte(before+tableBegin+made+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		documented := strings.Split(old, "\n")
		for _, line := range strings.Split(made, "\n") {
			if !slices.Contains(documented, line) {
				t.Errorf("%s lacks this line of the tables: %s", file, line)
			}
		}
		t.Errorf("the tables of %s are not what was found; STAMP_WRITE_DOCS=1 go test ./test -run TestMatrix writes them", file)
	}
}

// text returns both tables, and the list of their letters with what they mean.
func (b *tables) text() string {
	var s strings.Builder
	letters := &legend{}
	columns := [][2]string{}
	for _, rule := range messageRules {
		columns = append(columns, [2]string{rule.id, rule.name})
	}
	in := columns
	for _, rule := range publishRules {
		in = append(in[:len(in):len(in)], [2]string{rule.id, rule.name})
	}
	row := func(kind, id, name string, columns [][2]string) {
		s.WriteString("| " + name + " |")
		for _, c := range columns {
			s.WriteString(" " + letters.cell(b.cells[kind+" "+id+" "+c[0]]) + " |")
		}
		s.WriteString("\n")
	}
	head := func(name string, columns [][2]string) {
		s.WriteString("\n| " + name + " |")
		for _, c := range columns {
			s.WriteString(" " + c[1] + " |")
		}
		s.WriteString("\n|" + strings.Repeat(" --- |", len(columns)+1) + "\n")
	}
	head("published by", in)
	for _, w := range waysIn {
		row("in", w.id, w.name, in)
	}
	columns = append(columns, [2]string{"elsewhere", "answer to another subject"})
	head("read by", columns)
	for _, w := range waysOut {
		row("out", w.id, w.name, columns)
	}
	s.WriteString("\n")
	for i, text := range letters.texts {
		fmt.Fprintf(&s, "- %s: %s\n", letter(i), text)
	}
	s.WriteString("\n")
	return s.String()
}

// legend gives each text a letter.
type legend struct{ texts []string }

func letter(i int) string { return string(rune('a' + i)) }

// cell returns the text of a cell of a table. Cells that cannot exist count only if there are no others.
func (l *legend) cell(cells []string) string {
	failing, impossible := map[string]bool{}, map[string]bool{}
	held := false
	for _, c := range cells {
		if text, ok := strings.CutPrefix(c, fails); ok {
			failing[text] = true
		} else if text, ok := strings.CutPrefix(c, never); ok {
			impossible[text] = true
		} else {
			held = true
		}
	}
	switch {
	case len(failing) > 0 && held:
		return "**in part** " + l.letters(failing)
	case len(failing) > 0:
		return "**fails** " + l.letters(failing)
	case held:
		return "yes"
	}
	return "- " + l.letters(impossible)
}

func (l *legend) letters(texts map[string]bool) string {
	var all []string
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		i := slices.Index(l.texts, text)
		if i < 0 {
			i, l.texts = len(l.texts), append(l.texts, text)
		}
		all = append(all, letter(i))
	}
	slices.Sort(all)
	return "(" + strings.Join(all, ", ") + ")"
}
