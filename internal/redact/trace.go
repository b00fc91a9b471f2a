package redact

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"stamp.example/claim/field"
	"stamp/internal/stamp"
)

const (
	mask = "[REDACTED]"
	// malformed replaces a header block in which names and values cannot be told apart.
	malformed = "[malformed header block]"
)

// TraceBlock appends block to dst as a trace may show it. Names stay; a value
// stays only if its name is reserved, since no such header can be stamped.
func TraceBlock(dst, block []byte) []byte {
	first, lines, ok := stamp.ReadDelivered(block)
	if !ok {
		return append(dst, malformed...)
	}
	dst = append(dst, first...)
	for _, l := range lines {
		if isReserved(string(l.Name)) {
			dst = append(dst, l.Whole...)
		} else {
			dst = append(append(dst, l.Name...), ": "+mask+"\r\n"...)
		}
	}
	return append(dst, "\r\n"...)
}

func isReserved(name string) bool { return errors.Is(field.CheckName(name), field.ErrNameReserved) }

// TracePayload returns payload as a trace may show it. payload may be cut off at
// its end.
//   - In an answer with a stored message, the header block and a nested answer are
//     masked.
//   - Of a payload that is not text, or that holds a header block, only the length
//     is shown. Servers send such payloads to each other and in snapshots.
//   - Any other payload is returned unchanged.
func TracePayload(payload []byte) []byte {
	switch {
	case IsStoredAnswer(payload):
		return maskAnswer(payload)
	case !isText(payload) || bytes.Contains(payload, []byte(stamp.Version)):
		return fmt.Appendf(nil, "[%d bytes]", len(payload))
	}
	return payload
}

// isText reports whether payload is UTF-8 whose only control characters are tabs
// and line breaks. Its last character may be cut off.
func isText(payload []byte) bool {
	for len(payload) > 0 {
		r, n := utf8.DecodeRune(payload)
		switch {
		case r == utf8.RuneError && n == 1:
			return !utf8.FullRune(payload)
		case r < ' ' && r != '\t' && r != '\r' && r != '\n':
			return false
		}
		payload = payload[n:]
	}
	return true
}

func maskAnswer(answer []byte) []byte {
	var out []byte
	s := newScanner(answer)
	for f, ok := s.next(); ok; f, ok = s.next() {
		out = append(append(out, f.before...), f.key+mask+`"`...)
	}
	return append(out, s.rest()...)
}
