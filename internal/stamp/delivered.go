package stamp

import (
	"bytes"

	"stamp.example/claim/field"
)

// The grammar of a delivered header block is laxer than that of a published one
// (grammar.go). Besides stamped blocks it covers those of the server itself,
// where a status may have no text and a subject need not be UTF-8, and those that
// a server without Stamp let through.

// Line is a header line of a delivered block.
type Line struct {
	Name  []byte // as spelled in the block
	Whole []byte // the line with its CRLF
}

// ReadDelivered splits a delivered block into its first line, with its CRLF, and
// its header lines. It reports false for a block that client libraries may read
// differently.
func ReadDelivered(block []byte) (first []byte, lines []Line, ok bool) {
	at, ok := firstLine(block)
	first = block[:at]
	for ok && !isBlankLine(block[at:]) {
		colon, size := deliveredLine(block[at:])
		if ok = size > 0; ok {
			lines = append(lines, Line{Name: block[at:][:colon], Whole: block[at:][:size]})
		}
		at += size
	}
	return first, lines, ok && at+len(crlf) == len(block)
}

// firstLine returns the length of the first line, with its CRLF.
func firstLine(block []byte) (int, bool) {
	if !bytes.HasPrefix(block, []byte(Version)) {
		return 0, false
	}
	return lineEndAt(block, len(Version))
}

// deliveredLine reads the line at the beginning of text: a token, a colon, and anything
// but line breaks. It returns the index of the colon and the length of the line, which
// is 0 if there is no such line.
func deliveredLine(text []byte) (colon, size int) {
	if colon, size = plainLine(text); size > 0 {
		return colon, size
	}
	return anyDeliveredLine(text)
}

// anyDeliveredLine is deliveredLine without the fast path for plain lines.
func anyDeliveredLine(text []byte) (colon, size int) {
	for colon < len(text) && field.IsTokenByte(text[colon]) {
		colon++
	}
	if colon == 0 || colon == len(text) || text[colon] != ':' {
		return 0, 0
	}
	if size, ok := lineEndAt(text, colon); ok {
		return colon, size
	}
	return 0, 0
}

// isBlankLine reports whether a blank line is at the beginning of text.
func isBlankLine(text []byte) bool { return len(text) >= 2 && text[0] == '\r' && text[1] == '\n' }

// lineEndAt returns the index after the first line break at or after block[at].
// It reports false if that line break is not CRLF.
func lineEndAt(block []byte, at int) (int, bool) {
	end := bytes.IndexByte(block[at:], '\n')
	if end < 1 || block[at+end-1] != '\r' || bytes.IndexByte(block[at:at+end-1], '\r') >= 0 {
		return 0, false
	}
	return at + end + 1, true
}
