package redact

import (
	"bytes"
	"encoding/base64"
	"io"

	"stamp/internal/stamp"
)

// An answer of JetStream's API holds a stored message as JSON, with the header
// block and the payload in base64 (upstream, jetstream_api.go,
// JSApiMsgGetResponse). encoding/json writes it, with the type first.
//
// If the reply subject of such a request is a subject of a stream, the stream
// stores the answer. A later answer then holds it as its payload, so answers can
// be nested.
const (
	answerType  = "io.nats.jetstream.api.v1.stream_msg_get_response"
	answerStart = `{"type":"` + answerType + `"`
	blockKey    = `"hdrs":"`
	payloadKey  = `"data":"`
	// unreadable replaces an answer that cannot be read. It is JetStream's form of an error.
	unreadable = answerStart + `,"error":{"code":500,"err_code":10000,"description":"stored headers cannot be read"}}`
)

// nestedKey is the key of a payload that is itself an answer, and as much of its
// beginning as fills whole groups of base64, which are three bytes each.
var nestedKey = payloadKey + base64.StdEncoding.EncodeToString([]byte(answerStart[:len(answerStart)/3*3]))

// StoredAnswer removes from payload the header lines that seal hides, if payload
// is an answer with a stored message. It returns the new payload and how many
// lines it removed. All other bytes stay as they are. If it removed no line, it
// returns nil and 0, and the reader gets payload itself. An answer that cannot be
// read is replaced by an error.
//
// A nested answer is at least a quarter shorter than the one around it, so the
// size of payload bounds the depth and the work.
func StoredAnswer(seal *stamp.Seal, payload []byte) (out []byte, cut int) {
	if !IsStoredAnswer(payload) {
		return nil, 0
	}
	s := newScanner(payload)
	var decoded []byte // of the field that is looked at
	copied := 0        // how much of payload is in out, or left out of it
	for f, ok := s.next(); ok; f, ok = s.next() {
		var kept []byte
		var lines int
		var err error
		kept, decoded, lines, err = cutField(seal, f, decoded)
		if err != nil {
			return []byte(unreadable), max(cut, 1)
		}
		if lines == 0 {
			continue
		}
		cut += lines
		out = append(out, payload[copied:f.at]...)
		if len(kept) == 0 {
			out = s.dropComma(out)
		} else {
			out = base64.StdEncoding.AppendEncode(append(out, f.key...), kept)
			out = append(out, '"')
		}
		copied = s.pos
	}
	if cut == 0 {
		return nil, 0
	}
	return append(out, payload[copied:]...), cut
}

// IsStoredAnswer reports whether StoredAnswer looks into payload, and not only at its beginning.
func IsStoredAnswer(payload []byte) bool { return bytes.HasPrefix(payload, []byte(answerStart)) }

// cutField returns the decoded value of f without the lines that seal hides, and
// how many those are. kept means nothing if there are none. buf is where the value is
// decoded; it is returned grown, for the next field.
func cutField(seal *stamp.Seal, f answerField, buf []byte) (kept, grown []byte, lines int, err error) {
	if f.truncated {
		return nil, buf, 0, io.ErrUnexpectedEOF
	}
	value, err := base64.StdEncoding.AppendDecode(buf[:0], f.text)
	if err != nil {
		return nil, buf, 0, err
	}
	if f.key == blockKey {
		kept, lines = seal.Cut(nil, value)
	} else {
		kept, lines = StoredAnswer(seal, value)
	}
	return kept, value, lines, nil
}

// answerField is a field of an answer that holds a header block or a nested answer.
type answerField struct {
	key       string // blockKey or payloadKey
	before    []byte // what stands between the field before and this one
	at        int    // where the key begins in the answer
	text      []byte // the value in base64
	truncated bool   // the answer ends within the field
}

// answerKeys are what scanner looks for. They cannot be found within a JSON
// string, because quotes are escaped there.
var answerKeys = [2]string{blockKey, nestedKey}

// scanner finds the fields of an answer, one after the other. It remembers the
// next place of each key until it has passed it, so that the work is linear in
// the size of the answer, whatever the answer holds.
type scanner struct {
	answer  []byte
	pos     int                  // where the search for the next field begins
	nextKey [len(answerKeys)]int // the next index of each key in answer; len(answer) if there is none
	visited int                  // how many bytes were searched: a test bounds it
}

func newScanner(answer []byte) *scanner {
	return &scanner{answer: answer, nextKey: [2]int{-1, -1}}
}

func (s *scanner) next() (f answerField, ok bool) {
	for k, key := range answerKeys {
		if s.nextKey[k] >= s.pos {
			continue
		}
		s.nextKey[k] = len(s.answer)
		if i := bytes.Index(s.answer[s.pos:], []byte(key)); i >= 0 {
			s.nextKey[k] = s.pos + i
		}
		s.visited += s.nextKey[k] - s.pos
	}
	at := min(s.nextKey[0], s.nextKey[1])
	if at == len(s.answer) {
		return f, false
	}
	f.key = blockKey
	if at == s.nextKey[1] {
		f.key = payloadKey
	}
	f.before = s.answer[s.pos:at]
	text, _, closed := bytes.Cut(s.answer[at+len(f.key):], []byte(`"`))
	end := at + len(f.key) + len(text)
	if closed {
		end++
	}
	f.at, f.text, f.truncated = at, text, end == len(s.answer)
	s.pos = end
	return f, true
}

// rest returns what follows the last field that next returned.
func (s *scanner) rest() []byte { return s.answer[s.pos:] }

// dropComma removes the comma that a left-out field leaves behind: the one at the
// end of out, or else the one after the field.
func (s *scanner) dropComma(out []byte) []byte {
	if shorter, ok := bytes.CutSuffix(out, []byte(",")); ok {
		return shorter
	}
	if bytes.HasPrefix(s.rest(), []byte(",")) {
		s.pos++
	}
	return out
}
