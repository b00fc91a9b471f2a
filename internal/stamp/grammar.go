package stamp

import (
	"errors"
	"unicode/utf8"

	"stamp.example/claim/field"
)

// The grammar of a published header block. Servers and clients accept more, and
// ADR-4 defines no grammar. But everything that this grammar excludes is read
// differently by some client library:
//
//	block  = "NATS/1.0" [ SP status SP text ] CRLF *line CRLF [ CRLF ]
//	status = %x31-39 2DIGIT
//	text   = %x21-7E *%x20-7E
//	line   = token ":" value CRLF            ; token of RFC 9110, section 5.6.2
//	value  = *( HTAB / %x20-7E / UTF8-2 / UTF8-3 / UTF8-4 )   ; RFC 3629, see below
//
// The reasons:
//   - The blank line must end the block exactly where the length in the protocol
//     line says. A second blank line is accepted and left out: a nats-server sends
//     it when it asks JetStream for the state of its MQTT clients (mqtt.go,
//     sendJSAPIrequests), for example over a leafnode connection.
//   - A status must have a text. Without one, nats.py takes the header line after
//     the status for the text (aio/client.py, _process_headers).
//   - Values must be UTF-8. async-nats reads the block as a str (connection.rs),
//     and ends the subscriber's connection if it is not.
//   - Characters outside ASCII are allowed, since publishers in Go and JavaScript
//     use them. ADR-4 does not provide for them: nats.java refuses such a message,
//     and nats.py delivers it without any header. Their programs see no stamp, but
//     never a forged one.
//   - Of these characters, the controls U+0080 to U+009F and the separators U+2028
//     and U+2029 are refused, as in a stamp. Some programs break a line there, and
//     take the text after it for another header.
//
// The server sends the texts of these errors within -ERR '...', so they must not
// have quotes.
var (
	ErrVersion  = errors.New("block does not begin with NATS/1.0")
	ErrStatus   = errors.New("expected a status of three digits and a text")
	ErrFolded   = errors.New("line begins with a space or tab; folded lines are not supported")
	ErrName     = errors.New("expected a header name and a colon")
	ErrControl  = errors.New("control character")
	ErrLineEnd  = errors.New("line break is not CRLF")
	ErrUTF8     = errors.New("value is not UTF-8")
	ErrTrailing = errors.New("blank line before the end of the block")
	ErrNoEnd    = errors.New("block ends without a blank line")
)

// checkFirstLine checks the first line of block, and returns its length with CRLF.
func checkFirstLine(block []byte) (int, error) {
	if len(block) < len(Version) || string(block[:len(Version)]) != Version {
		return 0, ErrVersion
	}
	at := len(Version)
	if at < len(block) && block[at] == ' ' {
		end, err := statusEnd(block, at+1)
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

// isBareStatus reports whether block is a status without a text and nothing else.
// The server ends the snapshot of a stream with such a block. Client libraries
// agree on it as long as no header line follows.
func isBareStatus(block []byte) bool {
	const digits = len("204")
	if len(block) != len(Version)+len(" ")+digits+2*len(crlf) {
		return false
	}
	d := block[len(Version)+1 : len(Version)+1+digits]
	return string(block[:len(Version)+1]) == Version+" " && string(block[len(block)-2*len(crlf):]) == crlf+crlf &&
		d[0] >= '1' && d[0] <= '9' && d[1] >= '0' && d[1] <= '9' && d[2] >= '0' && d[2] <= '9'
}

// statusEnd checks the status at block[at], and returns the index after its text.
func statusEnd(block []byte, at int) (int, error) {
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

// anyLine checks the line at the beginning of text, which is not blank. It returns the
// index of the colon and the length of the line. plainLine is its fast path.
func anyLine(text []byte) (colon, size int, err error) {
	for colon < len(text) && field.IsTokenByte(text[colon]) {
		colon++
	}
	if colon == 0 || colon == len(text) || text[colon] != ':' {
		return 0, 0, nameFault(text, colon)
	}
	end, nonASCII := scanValue(text, colon+1)
	if end == len(text) {
		return 0, 0, ErrNoEnd
	}
	if size, err = lineEnd(text, end); err != nil {
		return 0, 0, err
	}
	if nonASCII {
		err = checkText(text[colon+1 : end])
	}
	return colon, size, err
}

// checkText checks a value with characters outside ASCII. scanValue has found that
// it has no ASCII control characters.
func checkText(value []byte) error {
	if !utf8.Valid(value) {
		return ErrUTF8
	}
	for len(value) > 0 { // a range over string(value) would copy it
		r, size := utf8.DecodeRune(value)
		if r != '\t' && field.BreaksText(r) {
			return ErrControl
		}
		value = value[size:]
	}
	return nil
}

// nameFault returns the fault of the line at the beginning of text, whose token ends at
// end without a colon.
func nameFault(text []byte, end int) error {
	switch {
	case end == len(text):
		return ErrNoEnd
	case end == 0 && (text[0] == ' ' || text[0] == '\t'):
		return ErrFolded
	case text[end] == '\r', text[end] == '\n':
		if _, err := lineEnd(text, end); err != nil {
			return err
		}
		return ErrName
	case isControl(text[end]):
		return ErrControl
	default:
		return ErrName
	}
}

// lineEnd checks for CRLF at block[at], the first control byte of its line, and
// returns the index after it.
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

// isControl reports whether c is an ASCII control character other than tab.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }
