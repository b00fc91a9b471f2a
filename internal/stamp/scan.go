package stamp

import (
	"encoding/binary"
	"math/bits"
)

// The functions of this file look at words of eight bytes: every byte of a block is
// looked at in every message. A byte of a word is marked if its highest bit is set. The
// first byte of the text is the lowest one.
const (
	lowBits  = 0x0101010101010101 // the lowest bit of each byte of a word
	highBits = 0x8080808080808080 // the highest bit of each byte of a word
)

// plainLine reads the line at the beginning of text, if it is as nearly all lines are:
// its name has letters, digits and '-' only, its value printable ASCII, and it ends with
// CRLF. Such a line fits the grammar of published and that of delivered blocks. It
// returns the index of the colon and the length of the line, which is 0 for all others,
// and for a line in the last bytes of text that do not fill a word.
func plainLine(text []byte) (colon, size int) {
	end := printablePrefix(text)
	if end+len(crlf) > len(text) || string(text[end:end+len(crlf)]) != crlf {
		return 0, 0
	}
	for ; colon <= len(text)-8; colon += 8 {
		// What is behind end is not looked at: the CR is marked.
		if marks := notInUsualName(binary.LittleEndian.Uint64(text[colon:])); marks != 0 {
			colon += firstMark(marks)
			break
		}
	}
	if colon == 0 || colon >= len(text) || text[colon] != ':' {
		return 0, 0
	}
	return colon, end + len(crlf)
}

// printablePrefix returns the index of the first byte that is not printable ASCII, or
// len(text) if there is none.
func printablePrefix(text []byte) (end int) {
	for ; end <= len(text)-16; end += 16 {
		b := (*[16]byte)(text[end:])
		first := notPrintable(binary.LittleEndian.Uint64(b[:8]))
		second := notPrintable(binary.LittleEndian.Uint64(b[8:]))
		switch {
		case first != 0:
			return end + firstMark(first)
		case second != 0:
			return end + 8 + firstMark(second)
		}
	}
	for ; end <= len(text)-8; end += 8 {
		if marks := notPrintable(binary.LittleEndian.Uint64(text[end:])); marks != 0 {
			return end + firstMark(marks)
		}
	}
	for end < len(text) && text[end] >= ' ' && text[end] < 0x7f {
		end++
	}
	return end
}

// firstMark returns the index of the first byte that is marked.
func firstMark(marks uint64) int { return bits.TrailingZeros64(marks) / 8 }

// notPrintable marks the first byte of w that is not printable ASCII. It may also mark
// later bytes that are: a byte below 0x20 borrows from the next one, and 0xff carries
// into it.
func notPrintable(w uint64) uint64 {
	return (w | (w + lowBits) | (w - ' '*lowBits)) & highBits
}

// notInUsualName marks the first byte of w that is no letter, no digit and no '-', if
// the bytes before it are ASCII.
func notInUsualName(w uint64) uint64 {
	lower := w | 0x20*lowBits // of a letter; nothing else becomes a letter
	notLetter := ^(lower + (0x80-'a')*lowBits) | (lower + (0x7f-'z')*lowBits)
	notDigit := ^(w + (0x80-'0')*lowBits) | (w + (0x7f-'9')*lowBits)
	notDash := (w ^ '-'*lowBits) + 0x7f*lowBits
	return notLetter & notDigit & notDash & highBits
}

// controls sets the highest bit of the first byte of w that is below 0x20 or is
// 0x7f. It may also set the bit of later bytes that are neither: w-n*lowBits sets
// it for each byte below n, but such a byte borrows from the byte after it.
func controls(w uint64) uint64 {
	del := w ^ 0x7f*lowBits // 0 where w has 0x7f
	return ((w - ' '*lowBits) | (del - lowBits)) & ^w & highBits
}

// scanValue returns the index of the first control character at or after
// block[at], see isControl, or len(block) if there is none. nonASCII reports
// whether there is a byte outside ASCII before that.
func scanValue(block []byte, at int) (end int, nonASCII bool) {
	var seen uint64
	for ; at+32 <= len(block); at += 32 { // four words at once, for long values
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
				return at + bit/8, (seen|w&(1<<bit-1))&highBits != 0
			}
		}
		seen |= w
	}
	for ; at < len(block) && !isControl(block[at]); at++ {
		seen |= uint64(block[at])
	}
	return at, seen&highBits != 0
}
