package stamp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"stamp/server/field"
)

// A stored message comes, beside the ways in which messages are delivered, as an answer of
// JetStream's API (upstream, jetstream_api.go, JSApiMsgGetResponse): JSON that has the header
// block and the payload in base64. The server writes it by encoding/json, with the type in front.
// An answer whose reply subject is a stream's is stored, and is then itself such a payload.
const (
	storedType = `{"type":"io.nats.jetstream.api.v1.stream_msg_get_response"`
	blockKey   = `"hdrs":"`
	dataKey    = `"data":"`
	// storedError stands for an answer that cannot be read.
	storedError = storedType + `,"error":{"code":500,"err_code":10000,"description":"stored headers cannot be read"}}`
)

// nestedKey begins the field of a payload that is an answer. Of the type, only what makes whole
// groups of base64 is known.
var nestedKey = dataKey + base64.StdEncoding.EncodeToString([]byte(storedType[:len(storedType)/3*3]))

// CutStored returns the payload without what the reader may not see, and how many lines
// that leaves out, if payload is an answer with a stored message; otherwise 0. The rest is
// as it was, byte for byte. An answer that cannot be read becomes an error.
//
// Each answer within an answer is a quarter smaller at least, so that depth and work are bounded
// by the size of the payload.
func (s *Seal) CutStored(payload []byte) (out []byte, cut int) {
	if !bytes.HasPrefix(payload, []byte(storedType)) {
		return nil, 0
	}
	fields := newStoredFields(payload)
	for f, ok := fields.next(); ok; f, ok = fields.next() {
		kept, lines, err := s.cutField(f)
		if err != nil {
			return []byte(storedError), max(cut, 1)
		}
		cut += lines
		switch {
		case lines == 0:
			out = append(out, f.whole...)
		case len(kept) == 0:
			out = append(out, f.before...)
			out = out[:len(out)-fields.drop(out)]
		default:
			out = append(append(out, f.before...), f.key...)
			out = append(base64.StdEncoding.AppendEncode(out, kept), '"')
		}
	}
	if cut == 0 {
		return nil, 0
	}
	return append(out, fields.rest()...), cut
}

// cutField returns what the reader may see of a field, when that is less than it holds.
func (s *Seal) cutField(f storedField) (kept []byte, lines int, err error) {
	if f.cutOff {
		return nil, 0, io.ErrUnexpectedEOF
	}
	value, err := base64.StdEncoding.AppendDecode(nil, f.text)
	if err != nil {
		return nil, 0, err
	}
	if f.key == blockKey {
		kept, lines = s.Cut(nil, value)
	} else {
		kept, lines = s.CutStored(value)
	}
	return kept, lines, nil
}

// storedField is a field with a header block, or with a payload that is an answer.
type storedField struct {
	key                 string
	before, text, whole []byte // whole is from before to the closing quote
	cutOff              bool   // nothing stands behind it: the answer ends within
}

// storedFields finds the fields of an answer, one after the other. The keys cannot be within a
// JSON string, whose quotes are escaped. What it has found of each key is kept until it is used,
// so that the work is linear in the answer's size, whatever it holds.
type storedFields struct {
	payload []byte
	at      int    // where the next field is looked for
	found   [2]int // where each key is next, from the beginning; len(payload) where there is none
	visited int    // bytes that were searched, for a test
}

var storedKeys = [2]string{blockKey, nestedKey}

func newStoredFields(payload []byte) *storedFields {
	return &storedFields{payload: payload, found: [2]int{-1, -1}}
}

func (s *storedFields) next() (f storedField, ok bool) {
	for k, key := range storedKeys {
		if s.found[k] >= s.at {
			continue
		}
		s.found[k] = len(s.payload)
		if i := bytes.Index(s.payload[s.at:], []byte(key)); i >= 0 {
			s.found[k] = s.at + i
		}
		s.visited += s.found[k] - s.at
	}
	at := min(s.found[0], s.found[1])
	if at == len(s.payload) {
		return f, false
	}
	f.key = blockKey
	if at == s.found[1] {
		f.key = dataKey
	}
	f.before = s.payload[s.at:at]
	text, _, closed := bytes.Cut(s.payload[at+len(f.key):], []byte(`"`))
	end := at + len(f.key) + len(text)
	if closed {
		end++
	}
	f.text, f.whole, f.cutOff = text, s.payload[s.at:end], end == len(s.payload)
	s.at = end
	return f, true
}

// rest is what stands behind the last field.
func (s *storedFields) rest() []byte { return s.payload[s.at:] }

// drop leaves the last field out, with one comma: it returns how many bytes of what stands before it go
// too, or passes over the one behind it.
func (s *storedFields) drop(before []byte) int {
	if bytes.HasSuffix(before, []byte(",")) {
		return 1
	}
	if bytes.HasPrefix(s.rest(), []byte(",")) {
		s.at++
	}
	return 0
}

const redacted = "[REDACTED]"

// MaskPayload returns a payload as a log may show it. Of an answer with a stored message, that is
// without the header block, and without a payload that is such an answer. Of what is no text, or holds a header block, it is the length alone:
// so the server sends messages to its peers, and in snapshots. A payload may be cut off at its
// end.
func MaskPayload(payload []byte) []byte {
	switch {
	case bytes.HasPrefix(payload, []byte(storedType)):
		return maskStored(payload)
	case !isText(payload) || bytes.Contains(payload, []byte(version)):
		return fmt.Appendf(nil, "[%d bytes]", len(payload))
	}
	return payload
}

// isText tells whether all characters are printed or break lines.
func isText(payload []byte) bool {
	for len(payload) > 0 {
		r, n := utf8.DecodeRune(payload)
		switch {
		case r == utf8.RuneError && n == 1:
			return !utf8.FullRune(payload) // cut off within a character
		case r < ' ' && r != '\t' && r != '\r' && r != '\n':
			return false
		}
		payload = payload[n:]
	}
	return true
}

func maskStored(payload []byte) []byte {
	var out []byte
	fields := newStoredFields(payload)
	for f, ok := fields.next(); ok; f, ok = fields.next() {
		out = append(append(out, f.before...), f.key+redacted+`"`...)
	}
	return append(out, fields.rest()...)
}

// malformed is what a log shows of a block that it cannot tell names from values in.
const malformed = "[malformed header block]"

func isReserved(name string) bool { return errors.Is(field.CheckName(name), field.ErrNameReserved) }

// MaskBlock appends to dst a header block as a log may show it: names, and the values of
// those that nobody can have stamped.
func MaskBlock(dst, block []byte) []byte {
	start := len(dst)
	at, ok := firstLine(block)
	dst = append(dst, block[:at]...)
	for ok && !bytes.HasPrefix(block[at:], []byte(crlf)) {
		var colon, next int
		if colon, next, ok = deliveredLine(block, at); !ok {
			break
		}
		if isReserved(string(block[at:colon])) {
			dst = append(dst, block[at:next]...)
		} else {
			dst = append(append(dst, block[at:colon]...), ": "+redacted+crlf...)
		}
		at = next
	}
	if !ok || at+len(crlf) != len(block) {
		return append(dst[:start], malformed...)
	}
	return append(dst, crlf...)
}
