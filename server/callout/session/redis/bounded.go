package redis

import (
	"bytes"
	"net"
	"strconv"

	"stamp/server/callout/session/internal/stored"
)

// bounded is a connection that fails where the server announces an answer that is longer than a
// session may be. The client's library makes room for a value as soon as it has read its length, which
// is the server's to choose, up to 512 MB; so the length is looked at before the library reads it.
type bounded struct {
	net.Conn

	line []byte // the beginning of the line that is being read: type and length
	text int    // bytes of a text that are still to come, with the line break behind it
	// What may still come until the next command is written: of texts, and of lines and elements.
	texts, others int
}

const (
	maxLine = 32 // of a line is kept
	// maxOthers leaves room for the lines and elements of a hash whose fields are a byte each.
	maxOthers = 16 * stored.MaxContent
)

// Write begins a new answer.
func (b *bounded) Write(p []byte) (int, error) {
	b.texts, b.others = stored.MaxContent, maxOthers
	return b.Conn.Write(p)
}

// Read passes on what is not too long.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if fault := b.scan(p[:n]); fault != nil {
		return 0, fault
	}
	return n, err
}

// scan follows the protocol (RESP2): lines that begin with their type, some of which announce a text.
func (b *bounded) scan(p []byte) error {
	for len(p) > 0 {
		if b.text > 0 {
			n := min(b.text, len(p))
			b.text -= n
			p = p[n:]
			continue
		}
		end := bytes.IndexByte(p, '\n')
		part := p[:end+1]
		if end < 0 {
			part = p
		}
		p = p[len(part):]
		b.line = append(b.line, part[:min(len(part), maxLine-len(b.line))]...)
		if b.others -= len(part); b.others < 0 {
			return stored.ErrTooLong
		}
		if end < 0 {
			continue
		}
		if err := b.announced(); err != nil {
			return err
		}
		b.line = b.line[:0]
	}
	return nil
}

// announced reads the length in a line.
func (b *bounded) announced() error {
	if len(b.line) == 0 || b.line[0] != '$' && b.line[0] != '*' {
		return nil
	}
	n, err := strconv.Atoi(string(bytes.TrimRight(b.line[1:], "\r\n")))
	if err != nil {
		return errAnswer
	}
	switch {
	case n <= 0 && b.line[0] == '*', n < 0: // none
		return nil
	case n > max(stored.MaxContent, maxOthers):
		return stored.ErrTooLong
	case b.line[0] == '*':
		b.others -= n
	default:
		b.texts -= n
		b.text = n + len("\r\n")
	}
	if b.texts < 0 || b.others < 0 {
		return stored.ErrTooLong
	}
	return nil
}
