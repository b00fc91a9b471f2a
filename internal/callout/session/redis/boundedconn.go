package redis

import (
	"bytes"
	"net"
	"strconv"

	"stamp/internal/callout/session/internal/stored"
)

// boundedConn is a connection to the server that bounds the answers. Reading fails if an
// answer is longer than a session may be, or is not of a type that the source expects.
// The Redis library allocates memory for a value as soon as it has read its length,
// which the server chooses, and panics at some lengths. So boundedConn parses each line
// before the library reads it.
type boundedConn struct {
	net.Conn

	// The line that is being read: its first byte, which is its type, or 0 if there is
	// none yet; the number after it, for types with a number; and the number of bytes
	// after it, for a status or an error.
	kind       byte
	number     []byte
	messageLen int

	bulkLeft int // bytes of a bulk string that are still to come, with the line break after it
	// elementsLeft are the elements of an array that are still to come. An array within an
	// array is an error: no command of the source returns one, and the library would read
	// it recursively.
	elementsLeft int
	replies      int // complete answers that have arrived, whether or not the library has read them

	// What the answers may still have until the next command is written: bytes of bulk
	// strings, bytes of lines, elements of arrays.
	bulkBudget, lineBudget, elementBudget int
}

const (
	// maxNumber is the maximum length in bytes of a line's number with its line break. The
	// largest number of 64 bits has 20 digits.
	maxNumber = 22
	// maxMessage is the maximum length in bytes of a status or an error.
	maxMessage = 64 << 10
	// maxLines allows for the lines of a hash of stored.MaxContent bytes with one byte in each field.
	maxLines = 16 * stored.MaxContent
	// maxElements allows for the elements of a hash of stored.MaxContent bytes with empty values.
	maxElements = 2 * stored.MaxContent
)

// Write writes a command, and resets the bounds of the answers.
func (b *boundedConn) Write(p []byte) (int, error) {
	b.bulkBudget, b.lineBudget, b.elementBudget = stored.MaxContent, maxLines, maxElements
	return b.Conn.Write(p)
}

// Read reads, and fails if the answers exceed a bound.
func (b *boundedConn) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if fault := b.scan(p[:n]); fault != nil {
		return 0, fault
	}
	return n, err
}

// scan parses a part of the answers in the protocol RESP2. A line begins with its type.
// Some types announce a bulk string, which follows the line.
func (b *boundedConn) scan(p []byte) error {
	for len(p) > 0 {
		if b.bulkLeft > 0 {
			n := min(b.bulkLeft, len(p))
			if b.bulkLeft -= n; b.bulkLeft == 0 {
				b.endValue()
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
		if b.lineBudget -= len(part); b.lineBudget < 0 {
			return stored.ErrTooLong
		}
		if err := b.addToLine(part); err != nil {
			return err
		}
		if end < 0 {
			continue
		}
		if err := b.endLine(); err != nil {
			return err
		}
		b.kind, b.number, b.messageLen = 0, b.number[:0], 0
	}
	return nil
}

// addToLine adds a part of a line, which is not empty.
func (b *boundedConn) addToLine(part []byte) error {
	if b.kind == 0 {
		b.kind, part = part[0], part[1:]
	}
	switch b.kind {
	case '+', '-': // a status or an error; only its length matters
		if b.messageLen += len(part); b.messageLen > maxMessage {
			return stored.ErrTooLong
		}
		return nil
	case '$', '*', ':':
		if len(b.number)+len(part) > maxNumber {
			return errAnswer
		}
		b.number = append(b.number, part...)
		return nil
	}
	return errAnswer
}

// endLine handles a complete line.
func (b *boundedConn) endLine() error {
	switch b.kind {
	case '$':
		return b.beginBulk()
	case '*':
		return b.beginArray()
	}
	b.elementsLeft = max(0, b.elementsLeft-1)
	b.endValue()
	return nil
}

// endValue handles the end of a value. It is the end of an answer, unless the array
// that the value is in has further elements.
func (b *boundedConn) endValue() {
	if b.elementsLeft == 0 {
		b.replies++
	}
}

func (b *boundedConn) beginBulk() error {
	n, err := b.length()
	if err != nil {
		return err
	}
	b.elementsLeft = max(0, b.elementsLeft-1)
	if n < 0 { // null
		b.endValue()
		return nil
	}
	if n > b.bulkBudget {
		return stored.ErrTooLong
	}
	b.bulkBudget -= n
	b.bulkLeft = n + len("\r\n")
	return nil
}

func (b *boundedConn) beginArray() error {
	n, err := b.length()
	switch {
	case err != nil:
		return err
	case b.elementsLeft > 0:
		return errAnswer
	case n > b.elementBudget:
		return stored.ErrTooLong
	}
	b.elementsLeft = max(0, n)
	b.elementBudget -= b.elementsLeft
	b.endValue() // an array without elements ends here
	return nil
}

// length returns the number of the line: digits, or -1 for null. The library reads it
// in the same way.
func (b *boundedConn) length() (int, error) {
	text, ok := bytes.CutSuffix(b.number, []byte("\r\n"))
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
