package stamp

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf8"

	"stamp/server/field"
)

// The grammar of a publisher's header block. It is narrower than what servers
// and clients take (ADR-4 gives no grammar to hold them to), because each thing
// that it leaves out is read differently by some client library:
//
//	block  = "NATS/1.0" [ SP status SP text ] CRLF *line CRLF [ CRLF ]
//	status = %x31-39 2DIGIT
//	text   = %x21-7E *%x20-7E
//	line   = token ":" value CRLF            ; token of RFC 9110, section 5.6.2
//	value  = *( HTAB / %x20-7E / UTF8-2 / UTF8-3 / UTF8-4 )   ; RFC 3629, see below
//
// The blank line must end the block exactly where the protocol line said, but for
// a second one, which is left out: so a nats-server asks JetStream for what its MQTT
// clients need (mqtt.go, sendJSAPIrequests), over a leafnode connection for
// example. Two more rules need a reason. A status without a text is refused since nats.py (aio/
// client.py, _process_headers) then takes the header line after it for the
// text. Bytes that are no UTF-8 are refused since async-nats (connection.rs)
// reads the block as a str and ends the reader's connection.
//
// UTF-8 outside ASCII passes, since publishers in Go and JavaScript use it, but
// ADR-4 does not provide for it: nats.java refuses such a message, and nats.py
// delivers it without any header. Such a reader sees no stamp, never a forged
// one.
//
// Of these characters, the controls U+0080 to U+009F and the separators U+2028 and U+2029 are refused, as they
// are in a stamp: some readers break a line there, and take what follows for a header of its own.
//
// The texts are sent to the publisher within -ERR '...', so they hold no quotes.
var (
	ErrVersion  = errors.New("block does not begin with NATS/1.0")
	ErrStatus   = errors.New("status is not three digits and a text")
	ErrFolded   = errors.New("line begins with a space, as a folded one does")
	ErrName     = errors.New("name is not a token and a colon")
	ErrControl  = errors.New("control character")
	ErrLineEnd  = errors.New("line break is not CRLF")
	ErrUTF8     = errors.New("value is not UTF-8")
	ErrTrailing = errors.New("blank line before the end of the block")
	ErrNoEnd    = errors.New("block ends without a blank line")
)

// statusLine returns the length of the first line of block, with its CRLF.
func statusLine(block []byte) (int, error) {
	if len(block) < len(Version) || string(block[:len(Version)]) != Version {
		return 0, ErrVersion
	}
	at := len(Version)
	if at < len(block) && block[at] == ' ' {
		end, err := statusText(block, at+1)
		if err != nil {
			return 0, err
		}
		at = end
	}
	switch {
	case at == len(block):
		return 0, ErrNoEnd
	case block[at] == '\n':
		return 0, ErrLineEnd
	case block[at] != '\r':
		return 0, ErrVersion
	}
	return lineEnd(block, at)
}

// isBareStatus tells whether block is a status without a text and nothing else, as the
// server itself ends the snapshot of a stream with. It is read alike by all as long as
// nothing is put behind it.
func isBareStatus(block []byte) bool {
	const digits = len("204")
	if len(block) != len(Version)+len(" ")+digits+2*len(crlf) {
		return false
	}
	d := block[len(Version)+1 : len(Version)+1+digits]
	return string(block[:len(Version)+1]) == Version+" " && string(block[len(block)-2*len(crlf):]) == crlf+crlf &&
		d[0] >= '1' && d[0] <= '9' && d[1] >= '0' && d[1] <= '9' && d[2] >= '0' && d[2] <= '9'
}

// statusText returns where the text of the status that begins at block[at] ends.
func statusText(block []byte, at int) (int, error) {
	const digits = len("503 ")
	if len(block) < at+digits+1 {
		return 0, ErrStatus
	}
	d := block[at : at+digits+1]
	if d[0] < '1' || d[0] > '9' || d[1] < '0' || d[1] > '9' || d[2] < '0' || d[2] > '9' || d[3] != ' ' || d[4] == ' ' {
		return 0, ErrStatus
	}
	end := at + digits
	for end < len(block) && block[end] >= ' ' && block[end] < 0x7f {
		end++
	}
	if end == at+digits || end < len(block) && block[end] != '\r' && block[end] != '\n' {
		return 0, ErrStatus
	}
	return end, nil
}

// headerLine reads the line at block[at], which is not blank, and returns where
// its colon is and where the next line begins.
func headerLine(block []byte, at int) (colon, next int, err error) {
	colon = at
	for colon < len(block) && field.IsTokenByte(block[colon]) {
		colon++
	}
	if colon == at || colon == len(block) || block[colon] != ':' {
		return 0, 0, nameFault(block, at, colon)
	}
	end, high := scanValue(block, colon+1)
	if end == len(block) {
		return 0, 0, ErrNoEnd
	}
	if next, err = lineEnd(block, end); err != nil {
		return 0, 0, err
	}
	if high {
		err = checkText(block[colon+1 : end])
	}
	return colon, next, err
}

// checkText checks a value with bytes that are not ASCII, and without control characters that are.
func checkText(value []byte) error {
	if !utf8.Valid(value) {
		return ErrUTF8
	}
	for _, r := range string(value) {
		if r != '\t' && field.BreaksText(r) {
			return ErrControl
		}
	}
	return nil
}

// nameFault says what is wrong with the line at block[at], whose token ends at
// end.
func nameFault(block []byte, at, end int) error {
	switch {
	case end == len(block):
		return ErrNoEnd
	case end == at && (block[at] == ' ' || block[at] == '\t'):
		return ErrFolded
	case block[end] == '\r', block[end] == '\n':
		if _, err := lineEnd(block, end); err != nil {
			return err
		}
		return ErrName
	case isControl(block[end]):
		return ErrControl
	default:
		return ErrName
	}
}

// lineEnd returns the index behind the CRLF at block[at], which is the first
// control byte of its line.
func lineEnd(block []byte, at int) (int, error) {
	switch c := block[at]; {
	case c == '\n':
		return 0, ErrLineEnd
	case c != '\r':
		return 0, ErrControl
	case at+1 == len(block):
		return 0, ErrNoEnd
	case block[at+1] != '\n':
		return 0, ErrLineEnd
	default:
		return at + len(crlf), nil
	}
}

// isControl tells whether c may not stand in a value.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// controls marks, with its highest bit, the first byte of the word that is below
// 0x20 or is 0x7f, and perhaps others above that byte: in w-n*ones the bytes
// below n have the bit, and so may those that lend to them.
func controls(w uint64) uint64 {
	del := w ^ 0x7f*ones
	return ((w - ' '*ones) | (del - ones)) & ^w & highs
}

// scanValue returns the index of the first control byte other than a tab at or
// after block[at], or len(block), and whether a byte before it is not ASCII.
func scanValue(block []byte, at int) (end int, high bool) {
	var seen uint64
	for ; at+32 <= len(block); at += 32 { // for long values
		b := block[at : at+32]
		w0, w1 := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		w2, w3 := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
		if controls(w0)|controls(w1)|controls(w2)|controls(w3) != 0 {
			break
		}
		seen |= w0 | w1 | w2 | w3
	}
	for ; at+8 <= len(block); at += 8 {
		w := binary.LittleEndian.Uint64(block[at:])
		for marks := controls(w); marks != 0; marks &= marks - 1 {
			bit := bits.TrailingZeros64(marks)
			if isControl(block[at+bit/8]) {
				return at + bit/8, (seen|w&(1<<bit-1))&highs != 0
			}
		}
		seen |= w
	}
	for ; at < len(block) && !isControl(block[at]); at++ {
		seen |= uint64(block[at])
	}
	return at, seen&highs != 0
}
