package redis

import (
	"bytes"
	"net"
	"strconv"

	"stamp/server/callout/session/internal/stored"
)

// bounded is a connection that fails where the server announces an answer that is longer than a
// session may be, or is not one to what the source asks. The client's library makes room for a value as soon as
// it has read its length, which is the server's to choose, and panics at some lengths; so each line is looked at
// before the library reads it.
type bounded struct {
	net.Conn

	kind byte   // of the line that is being read: its first byte; 0 at the beginning of a line
	line []byte // what follows in it, where it is a number
	said int    // bytes of it, where it is a text
	text int    // bytes of a text that are still to come, with the line break behind it
	// elements of an array that are still to come. Arrays within arrays are no answer to what the source asks,
	// and the library would read them by calling itself.
	elements int
	replies  int // whole answers that have come, read by the library or not
	// What may still come until the next command is written: bytes of texts, bytes of lines, elements of arrays.
	texts, lines, room int
}

const (
	// maxNumber is how long the number in a line may be, with the line break: the largest of 64 bits has 20 bytes.
	// A longer one is a fault, because what is not looked at is read by the library all the same.
	maxNumber = 22
	// maxSaid is how long a status or an error may be.
	maxSaid = 64 << 10
	// maxLines leaves room for the lines of a hash whose fields are a byte each, maxElements for the
	// elements of one whose values are empty.
	maxLines    = 16 * stored.MaxContent
	maxElements = 2 * stored.MaxContent
)

// Write begins a new answer.
func (b *bounded) Write(p []byte) (int, error) {
	b.texts, b.lines, b.room = stored.MaxContent, maxLines, maxElements
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
			if b.text -= n; b.text == 0 {
				b.ended()
			}
			p = p[n:]
			continue
		}
		end := bytes.IndexByte(p, '\n')
		part := p[:end+1]
		if end < 0 {
			part = p
		}
		p = p[len(part):]
		if b.lines -= len(part); b.lines < 0 {
			return stored.ErrTooLong
		}
		if err := b.keep(part); err != nil {
			return err
		}
		if end < 0 {
			continue
		}
		if err := b.announced(); err != nil {
			return err
		}
		b.kind, b.line, b.said = 0, b.line[:0], 0
	}
	return nil
}

// keep keeps a part of a line, which is never empty: its type, and its number where it has one.
func (b *bounded) keep(part []byte) error {
	if b.kind == 0 {
		b.kind, part = part[0], part[1:]
	}
	switch b.kind {
	case '+', '-': // a text, of which nothing is needed
		if b.said += len(part); b.said > maxSaid {
			return stored.ErrTooLong
		}
		return nil
	case '$', '*', ':':
		if len(b.line)+len(part) > maxNumber {
			return errAnswer
		}
		b.line = append(b.line, part...)
		return nil
	}
	return errAnswer
}

// announced does what a whole line says.
func (b *bounded) announced() error {
	switch b.kind {
	case '$':
		return b.announcedText()
	case '*':
		return b.announcedArray()
	}
	b.elements = max(0, b.elements-1)
	b.ended()
	return nil
}

// ended is for the end of a value: that of an answer, unless it is in an array with more to come.
func (b *bounded) ended() {
	if b.elements == 0 {
		b.replies++
	}
}

func (b *bounded) announcedText() error {
	n, err := b.length()
	if err != nil {
		return err
	}
	b.elements = max(0, b.elements-1)
	if n < 0 { // none
		b.ended()
		return nil
	}
	if n > b.texts {
		return stored.ErrTooLong
	}
	b.texts -= n
	b.text = n + len("\r\n")
	return nil
}

func (b *bounded) announcedArray() error {
	n, err := b.length()
	switch {
	case err != nil:
		return err
	case b.elements > 0:
		return errAnswer
	case n > b.room:
		return stored.ErrTooLong
	}
	b.elements = max(0, n)
	b.room -= b.elements
	b.ended() // where it has no elements
	return nil
}

// length is the number in a line, as the library reads it: digits, or -1 for none.
func (b *bounded) length() (int, error) {
	text, ok := bytes.CutSuffix(b.line, []byte("\r\n"))
	if string(text) == "-1" {
		return -1, nil
	}
	if !ok || len(text) == 0 || len(bytes.Trim(text, "0123456789")) > 0 {
		return 0, errAnswer
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, errAnswer
	}
	return n, nil
}
