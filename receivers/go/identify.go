// Package stamp says who sent a message: a typed identity, or nobody. It is for services that receive messages which a Stamp
// server stamped, with proofs or without.
//
//	trust, err := stamp.NewTrust(stamp.Options{
//		User:     "X-User",
//		Accounts: map[string][]string{"APP": {"orders.>"}},
//		Servers:  []string{"XB..."},
//		Keys:     []string{seed},
//	})
//	...
//	id, err := stamp.Identify(msg, trust)
//	if err != nil {
//		return // nobody
//	}
//	fmt.Println(id.User, id.Values("Roles"))
//
// docs/proofs.md has the format of proofs and the steps of judging, which receivers in all languages share.
package stamp

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"stamp.example/receivers/go/internal/wire"
)

// Identify returns who sent a message. Every error is ErrAnonymous: nobody sent it. VerdictOf says why.
func Identify(m Message, t *Trust) (Identity, error) {
	j := newJudge(t)
	defer j.release()
	id, err := j.identify(m)
	if err != nil {
		return Identity{}, err
	}
	if t.replays != nil && !t.replays.take(sha256.Sum256(j.raw)) {
		return Identity{}, errReplayed
	}
	return id, nil
}

// judge goes through the steps for one message. All errors are one of errors.go. It is used again, so that a message
// allocates little.
type judge struct {
	trust    *Trust
	arrived  string  // the subject on which the message arrived; empty: not known
	groups   []group // in the order of their folded names
	byEntry  []uint64
	fields   []field
	proof    wire.Parts
	raw      []byte // the bytes of the proof
	entries  []wire.Entry
	signers  []*signer
	pairs    []*pair
	server   string // the public key that fitted, as the trust has it
	readable bool   // the encrypted values are decrypted, or there are none
	sealed   []byte
	mac      []byte // F_mac and what is before and after it
	text     []byte // the same for F_text
	open     []byte
	nonce    [wire.NonceSize]byte
	digests  digests
}

// digests stand for a payload.
type digests struct {
	payload []byte // what they are of; nil with known
	known   bool   // they were forwarded
	tag     [wire.TagSize]byte
	sum     [wire.DigestSize]byte
}

// group is the headers that are spellings of one name.
type group struct {
	name    string // the spelling
	folded  string
	values  []string
	crowded bool // there is another spelling
	entry   wire.Entry
	field   int // its number among fields, or noField
}

const noField = -1

// field is a header that is believed.
type field struct {
	group  *group
	sealed bool
	values []string // in the clear
}

var judges = sync.Pool{New: func() any { return new(judge) }}

func newJudge(t *Trust) *judge {
	j := judges.Get().(*judge)
	j.trust = t
	return j
}

// maxKept is the size up to which the buffers of a judge are kept for the next message.
const maxKept = 64 << 10

// release gives a judge back.
func (j *judge) release() {
	if j.reset() {
		judges.Put(j)
	}
}

// reset makes a judge ready for the next message, unless its buffers are too large to be kept. It keeps no reference to a message, and no
// secret of it.
func (j *judge) reset() bool {
	if cap(j.groups) > 256 || cap(j.sealed)+cap(j.mac)+cap(j.text)+cap(j.open)+cap(j.raw) > maxKept {
		return false
	}
	clear(j.open[:cap(j.open)])
	clear(j.groups[:cap(j.groups)])
	clear(j.fields[:cap(j.fields)])
	clear(j.pairs)
	clear(j.signers)
	*j = judge{
		groups: j.groups[:0], byEntry: j.byEntry[:0], fields: j.fields[:0], raw: j.raw[:0], entries: j.entries[:0],
		signers: j.signers[:0], pairs: j.pairs[:0], sealed: j.sealed[:0], mac: j.mac[:0], text: j.text[:0], open: j.open[:0],
	}
	return true
}

// identify goes through all steps but that of replays.
func (j *judge) identify(m Message) (id Identity, err error) {
	j.group(m.Header)
	j.digests.payload, j.arrived = m.Payload, m.Subject
	if !j.trust.proven {
		return j.believe()
	}
	g := j.find(foldedProof)
	switch {
	case g == nil:
		return id, errAnonymous
	case g.crowded || g.name != wire.Proof || len(g.values) != 1:
		return id, errProofMalformed
	}
	var fault wire.Fault
	if j.raw, fault = wire.AppendProof(j.raw[:0], g.values[0]); fault != wire.Sound {
		return id, errOfFault(fault)
	}
	if err := j.readProof(); err != nil {
		return id, err
	}
	if err := j.prove(nil); err != nil {
		return id, err
	}
	return j.identity()
}

// Folded names.
var (
	foldedProof     = wire.Fold(wire.Proof)
	foldedForwarded = wire.Fold(wire.ForwardedProof)
	provenance      = [...]string{wire.Fold(wire.Account), wire.Fold(wire.Subject), wire.Fold(wire.Time)}
)

// group groups the headers by their folded names (step 1).
func (j *judge) group(headers map[string][]string) {
	for name, values := range headers {
		if len(values) > 0 {
			j.addGroup(name, values)
		}
	}
	j.mergeGroups()
}

func (j *judge) addGroup(name string, values []string) {
	folded := name
	if info, ok := j.trust.names.get(name); ok {
		folded = info.folded
	} else if folded = wire.Fold(name); folded == "" {
		return
	}
	j.groups = append(j.groups, group{name: name, folded: folded, values: values, field: noField})
}

// mergeGroups sorts the groups, and makes one of those of one name.
func (j *judge) mergeGroups() {
	slices.SortFunc(j.groups, func(a, b group) int { return strings.Compare(a.folded, b.folded) })
	kept := j.groups[:0]
	for _, g := range j.groups {
		if n := len(kept); n > 0 && kept[n-1].folded == g.folded {
			// What is crowded is refused wherever it is looked at, so its values are of no use.
			kept[n-1].crowded = true
			continue
		}
		kept = append(kept, g)
	}
	j.groups = kept
}

// find returns the group of a folded name, or nil.
func (j *judge) find(folded string) *group {
	i, ok := slices.BinarySearchFunc(j.groups, folded, func(g group, name string) int { return strings.Compare(g.folded, name) })
	if !ok {
		return nil
	}
	return &j.groups[i]
}

// readProof judges the bytes of a proof and its keys (steps 3 and 4).
func (j *judge) readProof() error {
	var fault wire.Fault
	j.proof, fault = wire.Parse(j.raw, j.entries[:0])
	j.entries = j.proof.Entries
	if fault != wire.Sound {
		return errOfFault(fault)
	}
	return j.findKeys()
}

// prove judges the fields of a proof (steps 5 and 6). check is called after step 5.
func (j *judge) prove(check func() error) error {
	if err := j.findFields(); err != nil {
		return err
	}
	if check != nil {
		if err := check(); err != nil {
			return err
		}
	}
	if err := j.checkTag(); err != nil {
		return err
	}
	if err := j.checkSignature(); err != nil {
		return err
	}
	j.rememberNames()
	return j.decrypted()
}

func errOfFault(fault wire.Fault) error {
	if fault == wire.UnknownKind {
		return errProofVersion
	}
	return errProofMalformed
}

// findKeys is step 4.
func (j *judge) findKeys() error {
	p := &j.proof
	if wire.HasTag(p.Kind) {
		for i := range j.trust.pairs {
			if pair := &j.trust.pairs[i]; pair.serverID == p.Server && pair.receiverID == p.Receiver {
				j.pairs = append(j.pairs, pair)
			}
		}
		if len(j.pairs) == 0 && (p.Kind == wire.KindReceiver || j.trust.hasKeys) {
			return errProofKey
		}
	}
	if wire.HasSignature(p.Kind) {
		for i := range j.trust.signers {
			if s := &j.trust.signers[i]; s.id == p.Signer {
				j.signers = append(j.signers, s)
			}
		}
		if len(j.signers) == 0 {
			return errProofKey
		}
	}
	j.readable = !wire.HasTag(p.Kind) || len(j.pairs) > 0
	return nil
}

// findFields is step 5.
func (j *judge) findFields() error {
	if err := j.findProvenance(); err != nil {
		return err
	}
	j.indexEntries()
	last := ""
	for _, entry := range j.proof.Entries {
		g, err := j.ofEntry(entry)
		if err != nil {
			return err
		}
		if g.folded <= last || g.folded == foldedProof || slices.Contains(provenance[:], g.folded) {
			return errProofMalformed
		}
		last = g.folded
		if !wire.Fits(g.name, g.values) {
			return errFieldMalformed
		}
		if entry.Encrypted() && j.readable {
			if err := j.gather(g.values); err != nil {
				return err
			}
		}
		j.addField(g, entry.Encrypted())
	}
	return nil
}

func (j *judge) addField(g *group, sealed bool) {
	g.field = len(j.fields)
	j.fields = append(j.fields, field{group: g, sealed: sealed, values: g.values})
}

// findProvenance takes the three groups of provenance for fields.
func (j *judge) findProvenance() error {
	for i, folded := range provenance {
		g := j.find(folded)
		switch {
		case g == nil:
			return errFieldMissing
		case g.crowded || len(g.values) != 1 || g.name != wire.Provenance[i]:
			return errFieldTwice
		case !wire.Fits(g.name, g.values):
			return errFieldMalformed
		}
		j.addField(g, false)
	}
	return nil
}

// indexEntries sorts the groups by their entries, so that the cost of a proof with many entries in a message with many
// headers is not the product of both.
func (j *judge) indexEntries() {
	for i := range j.groups {
		g := &j.groups[i]
		if info, ok := j.trust.names.get(g.name); ok {
			g.entry = info.entry
		} else {
			g.entry = wire.EntryOf(g.folded)
		}
		j.byEntry = append(j.byEntry, entryKey(g.entry)|uint64(i))
	}
	slices.Sort(j.byEntry)
}

// entryKey has the number of an entry in the upper half.
func entryKey(e wire.Entry) uint64 { return (uint64(e[0])<<16 | uint64(e[1])<<8 | uint64(e[2])) << 32 }

// ofEntry returns the only group of an entry.
func (j *judge) ofEntry(entry wire.Entry) (*group, error) {
	key := entryKey(entry.Plain())
	i, _ := slices.BinarySearch(j.byEntry, key)
	if i == len(j.byEntry) || j.byEntry[i]>>32 != key>>32 {
		return nil, errFieldMissing
	}
	if i+1 < len(j.byEntry) && j.byEntry[i+1]>>32 == key>>32 {
		return nil, errFieldTwice
	}
	g := &j.groups[uint32(j.byEntry[i])]
	if g.crowded {
		return nil, errFieldTwice
	}
	return g, nil
}

// gather appends the ciphertext of encrypted values.
func (j *judge) gather(values []string) error {
	for _, v := range values {
		var exact bool
		if j.sealed, exact = wire.AppendExact(j.sealed, v); !exact {
			return errFieldMalformed
		}
	}
	return nil
}

// checkTag is the first half of step 6.
func (j *judge) checkTag() error {
	if len(j.pairs) == 0 {
		return nil
	}
	j.sealed = append(j.sealed, j.proof.Tag...)
	j.mac = wire.AppendContext(j.mac[:0], j.proof.BeforeTag)
	for i := range j.fields {
		if f := &j.fields[i]; f.sealed {
			j.mac = wire.AppendFieldHead(j.mac, f.group.name, len(f.group.values))
			for _, v := range f.group.values {
				j.mac = wire.AppendSealedLength(j.mac, wire.DataLen(len(v)))
			}
		} else {
			j.mac = wire.AppendField(j.mac, f.group.name, f.group.values)
		}
	}
	fields := len(j.mac)
	for _, pair := range j.pairs {
		id := cipherID{pair, j.proof.Salt}
		aead := j.trust.ciphers.get(id)
		known := aead != nil
		if !known {
			var err error
			if aead, err = wire.AEAD(pair.secret, id.salt, pair.server, pair.receiver); err != nil {
				continue // it is none of a pair whose key cannot be made
			}
		}
		j.mac = j.appendPayloadTag(j.mac[:fields], aead)
		var err error
		if j.open, err = wire.Open(j.open[:0], aead, j.nonce[:], j.proof.Counter, j.sealed, j.mac); err == nil {
			copy(j.digests.tag[:], j.mac[fields:])
			j.server = pair.public
			if !known {
				j.trust.ciphers.put(id, aead)
			}
			return nil
		}
	}
	return errProofWrong
}

func (j *judge) appendPayloadTag(dst []byte, aead cipher.AEAD) []byte {
	if j.digests.known {
		return append(dst, j.digests.tag[:]...)
	}
	return wire.AppendPayloadTag(dst, aead, j.nonce[:], j.proof.Counter, j.digests.payload)
}

// checkSignature is the second half of step 6. Of a proof with both, the signature says which server it was, since whoever holds the
// receiver's seed can make a tag.
func (j *judge) checkSignature() error {
	if len(j.signers) == 0 {
		return nil
	}
	if !j.digests.known {
		j.digests.sum = sha256.Sum256(j.digests.payload)
	}
	j.text = wire.AppendContext(j.text[:0], j.proof.BeforeSig)
	j.text = append(j.appendText(j.text), j.digests.sum[:]...)
	for _, s := range j.signers {
		if ed25519.Verify(s.key, j.text, j.proof.Signature) {
			j.server = s.public
			return nil
		}
	}
	return errProofWrong
}

// appendText appends F_text.
func (j *judge) appendText(dst []byte) []byte {
	for i := range j.fields {
		dst = wire.AppendField(dst, j.fields[i].group.name, j.fields[i].group.values)
	}
	return dst
}

// rememberNames keeps what was computed of the names of a message that is proven.
func (j *judge) rememberNames() {
	for i := range j.fields {
		g := j.fields[i].group
		if _, known := j.trust.names.get(g.name); !known && len(g.name) <= 256 {
			// Copies, since the name may be a part of the whole message.
			j.trust.names.add(strings.Clone(g.name), strings.Clone(g.folded))
		}
	}
}

// decrypted puts the decrypted values into the fields.
func (j *judge) decrypted() error {
	if !j.readable || len(j.open) == 0 && !slices.ContainsFunc(j.fields, func(f field) bool { return f.sealed }) {
		return nil
	}
	plain := string(j.open)
	for i := range j.fields {
		f := &j.fields[i]
		if !f.sealed {
			continue
		}
		f.values = make([]string, len(f.group.values))
		for n, v := range f.group.values {
			length := wire.DataLen(len(v))
			f.values[n], plain = plain[:length], plain[length:]
			if !utf8.ValidString(f.values[n]) {
				return errFieldMalformed
			}
		}
	}
	return nil
}

// believe takes the headers of a message without a proof for fields, and judges these.
func (j *judge) believe() (id Identity, err error) {
	for _, r := range j.trust.readers {
		if g := j.find(r.folded); g != nil {
			j.addField(g, false)
		}
	}
	j.readable = true
	return j.identity()
}

// identity is steps 7, 8 and 10.
func (j *judge) identity() (id Identity, err error) {
	t := j.trust
	id.Proven, id.Server = t.proven, j.server
	if n := len(t.readers) - 1; n > 0 {
		id.headers = make([]header, 0, n)
	}
	for i, r := range t.readers {
		user := i == 0
		g := j.find(r.folded)
		switch {
		case g == nil && user:
			return Identity{}, errAnonymous
		case g == nil:
			continue
		case g.field == noField:
			return Identity{}, errFieldUncovered
		case g.crowded || !t.proven && g.name != r.name:
			return Identity{}, errFieldTwice
		case r.one && len(g.values) > 1:
			return Identity{}, errFieldTwice
		}
		f := &j.fields[g.field]
		switch unread := f.sealed && !j.readable; {
		case user && (unread || f.values[0] == ""):
			return Identity{}, errAnonymous
		case user:
			id.User = f.values[0]
		case !unread:
			id.headers = append(id.headers, header{r.folded, f.values})
		}
	}
	err = j.checkProvenance(&id)
	return id, err
}

// checkProvenance is step 8.
func (j *judge) checkProvenance(id *Identity) error {
	t := j.trust
	if len(t.accounts) == 0 {
		return nil
	}
	if !t.proven {
		if err := j.findProvenance(); err != nil {
			return err
		}
	}
	var values [len(provenance)]string
	for i, folded := range provenance {
		values[i] = j.find(folded).values[0]
	}
	account, subject := values[0], values[1]
	patterns, ok := t.subjects(account)
	if !ok {
		return errAccount
	}
	fits := func(p pattern) bool { return p.matches(subject) }
	if !slices.ContainsFunc(patterns, fits) {
		return errSubject
	}
	if !j.isFor(subject) {
		return errMisdirected
	}
	if !wire.HasSignature(j.proof.Kind) && slices.ContainsFunc(t.signed, fits) {
		return errUnsigned
	}
	at, ok := parseTime(values[2])
	if !ok {
		return errTimeMalformed
	}
	if t.maxAge > 0 {
		switch now := t.now(); {
		case now.Sub(at) > t.maxAge:
			return errOld
		case at.Sub(now) > t.maxSkew:
			return errFuture
		}
	}
	id.Account, id.Subject, id.Time = account, subject, at
	return nil
}

// isFor reports whether a message that was published on a subject is for the handler that asks. The subject on which it
// arrived is compared as it is: whoever publishes to orders.* does not choose a pattern.
func (j *judge) isFor(subject string) bool {
	if j.trust.handled != nil {
		return slices.ContainsFunc(j.trust.handled, func(p pattern) bool { return p.matches(subject) })
	}
	return j.arrived == "" || j.arrived == subject
}

const timeLayout = "2006-01-02T15:04:05.000000000Z"

// parseTime reads a time of a stamp. It takes no other text for the same time.
func parseTime(text string) (at time.Time, ok bool) {
	if len(text) != len(timeLayout) || text[:4] == "0000" {
		return at, false
	}
	at, err := time.Parse(timeLayout, text)
	var again [len(timeLayout)]byte
	return at, err == nil && string(at.AppendFormat(again[:0], timeLayout)) == text
}
