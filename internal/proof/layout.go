package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stamp.example/claim/field"
)

// Faults of headers that cannot be proven.
var (
	ErrSameEntry    = errors.New("a proof could not tell these headers apart, since the first 23 bits of the SHA-256 of their names are equal; rename one of them")
	ErrTooManyNames = errors.New("too many headers for a proof")
)

// maxText is how many characters a proof has at most.
const maxText = 4096

const (
	entrySize     = 3
	signatureSize = 64
	idSize        = 2
)

// maxNames is how many headers a proof of each kind can cover.
const maxNames = (maxText/4*3 - (1 + 3*idSize + saltSize + 4 + tagSize + signatureSize)) / entrySize

// Header is a stamped header that is proven.
type Header struct {
	Name      string
	Values    []string // as they are before they are encrypted
	Encrypted bool
	// Part is the number of the part of the stamped lines that has the header, and At is
	// where in that part each value begins.
	Part int
	At   []int
}

// Layout is what the proofs of messages with the same headers have in common. It is immutable.
type Layout struct {
	origin string // the field Stamp-Account, and Stamp-Subject up to the length of its value
	fields []provenField

	// The same of all fields together, for messages that have all of them.
	entries, mac string
	plain        []byte

	encryptedLen int // how many bytes are encrypted
	maxLen       int
}

// provenField is a field of a Layout. Its texts are parts of those of the Layout.
type provenField struct {
	name      string
	entry     string
	mac       string
	plain     []byte
	encrypted bool
	values    []place
	part      int
}

// place is where a value stands in a part of the lines.
type place struct{ at, plainLen int }

// NewLayout returns the layout for messages with these headers from an account. The
// proofs are made for a receiver, signed, or either.
func NewLayout(account string, headers []Header, forReceiver, signed bool) (*Layout, error) {
	if len(headers) > maxNames {
		return nil, fmt.Errorf("%w: found %d; at most %d are allowed", ErrTooManyNames, len(headers), maxNames)
	}
	folded := make(map[string]string, len(headers)) // by name
	for _, h := range headers {
		folded[h.Name] = field.Fold(h.Name)
	}
	headers = slices.SortedFunc(slices.Values(headers), func(a, b Header) int { return strings.Compare(folded[a.Name], folded[b.Name]) })
	l := &Layout{origin: string(appendField(appendValue(appendField(nil, AccountName, 1), account), SubjectName, 1))}
	var entries, mac []byte
	entryOf := map[[entrySize]byte]string{}
	for _, name := range []string{AccountName, SubjectName, TimeName, Name} {
		entryOf[entry(field.Fold(name), false)] = name
	}
	for _, h := range headers {
		plainEntry := entry(folded[h.Name], false)
		if other, found := entryOf[plainEntry]; found {
			return nil, fmt.Errorf("%q and %q: %w", other, h.Name, ErrSameEntry)
		}
		entryOf[plainEntry] = h.Name
		written := entry(folded[h.Name], h.Encrypted)
		entries = append(entries, written[:]...)
		mac = appendMACField(mac, h)
		f := provenField{name: h.Name, encrypted: h.Encrypted, part: h.Part}
		for i, v := range h.Values {
			f.values = append(f.values, place{h.At[i], len(v)})
			if h.Encrypted {
				l.plain = append(l.plain, v...)
			}
		}
		l.fields = append(l.fields, f)
	}
	l.entries, l.mac, l.plain = string(entries), string(mac), slices.Clip(l.plain)
	l.cut()
	size := 1 + len(entries)
	if forReceiver {
		size += 2*idSize + saltSize + 4 + tagSize
	}
	if signed {
		size += idSize + signatureSize
	}
	l.maxLen = len(Name+": "+crlf) + text.EncodedLen(size)
	return l, nil
}

// cut gives each field its parts of the texts of the layout.
func (l *Layout) cut() {
	entries, mac, plain := l.entries, l.mac, l.plain
	for i := range l.fields {
		f := &l.fields[i]
		size, macLen := 0, 2+len(f.name)+2
		for _, v := range f.values {
			macLen += 4
			if f.encrypted {
				size += v.plainLen
			} else {
				macLen += v.plainLen
			}
		}
		f.entry, entries = entries[:entrySize], entries[entrySize:]
		f.mac, mac = mac[:macLen], mac[macLen:]
		f.plain, plain = plain[:size:size], plain[size:]
		l.encryptedLen += size
	}
}

// MaxLen returns how many bytes a proof adds to a header block at most. Without a layout there is none.
func (l *Layout) MaxLen() int {
	if l == nil {
		return 0
	}
	return l.maxLen
}

// AppendDigest appends to b everything in which two layouts for the same account and
// the same lines can differ.
func (l *Layout) AppendDigest(b []byte) []byte {
	b = append(b, l.entries...)
	b = append(b, l.mac...)
	b = append(b, l.plain...)
	return binary.LittleEndian.AppendUint64(b, uint64(l.maxLen))
}

// entry returns the entry of a folded name.
func entry(folded string, encrypted bool) (e [entrySize]byte) {
	sum := sha256.Sum256([]byte(folded))
	copy(e[:], sum[:])
	e[0] &^= 0x80
	if encrypted {
		e[0] |= 0x80
	}
	return e
}

func appendField(b []byte, name string, values int) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	return binary.BigEndian.AppendUint16(b, uint16(values))
}

func appendValue[T string | []byte](b []byte, value T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(value))), value...)
}

// encryptedBit is set in the length of an encrypted value in F_mac.
const encryptedBit = 1 << 31

func appendMACField(b []byte, h Header) []byte {
	b = appendField(b, h.Name, len(h.Values))
	for _, v := range h.Values {
		if h.Encrypted {
			b = binary.BigEndian.AppendUint32(b, uint32(len(v))|encryptedBit)
		} else {
			b = appendValue(b, v)
		}
	}
	return b
}

// has reports whether a message has a field.
func (m *Message) has(f *provenField) bool { return m.Parts == nil || m.Parts[f.part] >= 0 }

// offset returns where the part of a field begins in the stamped lines.
func (m *Message) offset(f *provenField) int {
	if m.Parts == nil {
		return 0
	}
	return m.Parts[f.part]
}

// encrypts reports whether a message has encrypted headers.
func (l *Layout) encrypts(m *Message) bool {
	for i := range l.fields {
		if f := &l.fields[i]; f.encrypted && m.has(f) {
			return true
		}
	}
	return false
}

func (l *Layout) appendEntries(b []byte, m *Message) []byte {
	if m.Parts == nil {
		return append(b, l.entries...)
	}
	for i := range l.fields {
		if f := &l.fields[i]; m.has(f) {
			b = append(b, f.entry...)
		}
	}
	return b
}

// timeField is the field Stamp-Time up to the length of its value.
var timeField = string(appendField(nil, TimeName, 1))

// appendOrigin appends the fields of provenance.
func (l *Layout) appendOrigin(b []byte, m *Message) []byte {
	b = append(b, l.origin...)
	b = appendValue(b, m.Subject)
	b = append(b, timeField...)
	return appendValue(b, m.Time)
}

// appendMAC appends F_mac.
func (l *Layout) appendMAC(b []byte, m *Message) []byte {
	b = l.appendOrigin(b, m)
	if m.Parts == nil {
		return append(b, l.mac...)
	}
	for i := range l.fields {
		if f := &l.fields[i]; m.has(f) {
			b = append(b, f.mac...)
		}
	}
	return b
}

// appendText appends F_text. lines are the stamped lines, with the encrypted values.
func (l *Layout) appendText(b, lines []byte, m *Message) []byte {
	b = l.appendOrigin(b, m)
	for i := range l.fields {
		f := &l.fields[i]
		switch {
		case !m.has(f):
		case !f.encrypted:
			b = append(b, f.mac...)
		default:
			b = appendField(b, f.name, len(f.values))
			for _, v := range f.values {
				at := m.offset(f) + v.at
				b = appendValue(b, lines[at:at+EncryptedLen(v.plainLen)])
			}
		}
	}
	return b
}

// appendPlain appends the values that are encrypted, one after the other.
func (l *Layout) appendPlain(b []byte, m *Message) []byte {
	if m.Parts == nil {
		return append(b, l.plain...)
	}
	for i := range l.fields {
		if f := &l.fields[i]; m.has(f) {
			b = append(b, f.plain...)
		}
	}
	return b
}

// putValues puts the encrypted values into the stamped lines.
func (l *Layout) putValues(lines, ciphertext []byte, m *Message) {
	for i := range l.fields {
		f := &l.fields[i]
		if !f.encrypted || !m.has(f) {
			continue
		}
		for _, v := range f.values {
			encodeText(lines[m.offset(f)+v.at:], ciphertext[:v.plainLen])
			ciphertext = ciphertext[v.plainLen:]
		}
	}
}
