package stamp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"stamp/server/field"
)

// A stored message comes, beside the ways in which messages are delivered, as an answer of
// JetStream's API (upstream, jetstream_api.go, JSApiMsgGetResponse): JSON that has the header
// block in base64. The server writes it by encoding/json, with the type in front.
const (
	storedType = `{"type":"io.nats.jetstream.api.v1.stream_msg_get_response"`
	storedKey  = `"hdrs":"`
	// storedError stands for an answer that cannot be read.
	storedError = storedType + `,"error":{"code":500,"err_code":10000,"description":"stored headers cannot be read"}}`
)

// CutStored returns the payload without what the reader may not see, and how many lines
// that leaves out, if payload is an answer with a stored message; otherwise 0. The rest is
// as it was, byte for byte. An answer whose headers cannot be read becomes an error.
func (s *Seal) CutStored(payload []byte) (out []byte, cut int) {
	if !bytes.HasPrefix(payload, []byte(storedType)) {
		return nil, 0
	}
	rest := payload
	for {
		before, text, after, ok := nextStored(rest)
		if !ok {
			break
		}
		block, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil || len(after) == 0 {
			return []byte(storedError), max(cut, 1)
		}
		kept, lines := s.Cut(nil, block)
		cut += lines
		switch {
		case lines == 0:
			out = append(out, rest[:len(rest)-len(after)]...)
		case len(kept) == 0:
			out, after = dropField(append(out, before...), after)
		default:
			out = append(append(out, before...), storedKey...)
			out = append(base64.StdEncoding.AppendEncode(out, kept), '"')
		}
		rest = after
	}
	if cut == 0 {
		return nil, 0
	}
	return append(out, rest...), cut
}

// nextStored finds the next field with a header block: what stands before it, its text, and
// what stands behind it, which is empty when the payload ends within. The key cannot be
// within a JSON string, whose quotes are escaped.
func nextStored(payload []byte) (before, text, after []byte, ok bool) {
	before, rest, ok := bytes.Cut(payload, []byte(storedKey))
	if !ok {
		return nil, nil, nil, false
	}
	text, after, _ = bytes.Cut(rest, []byte(`"`))
	return before, text, after, true
}

// dropField joins what stands around a field that is left out.
func dropField(before, after []byte) ([]byte, []byte) {
	if b, ok := bytes.CutSuffix(before, []byte(",")); ok {
		return b, after
	}
	return before, bytes.TrimPrefix(after, []byte(","))
}

const redacted = "[REDACTED]"

// MaskPayload returns a payload as a log may show it. Of an answer with a stored message, that is
// without the header block. Of what is no text, or holds a header block, it is the length alone:
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
	for {
		before, _, after, ok := nextStored(payload)
		if !ok {
			return append(out, payload...)
		}
		out = append(append(out, before...), storedKey+redacted+`"`...)
		payload = after
	}
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
