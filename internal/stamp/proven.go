package stamp

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"stamp.example/claim/field"
	"stamp/internal/proof"
)

// Proof says how the messages of a stamp are proven.
type Proof struct {
	// Encrypt are the names of the headers whose values are encrypted. The stamp itself
	// then has other bytes in their place, so that no mistake can show them.
	Encrypt *NameSet
	// ForReceiver and Signed say which kinds of proofs there can be. Encrypted values need a receiver.
	ForReceiver, Signed bool
}

// conceals reports whether the values of a header are encrypted.
func (p *Proof) conceals(name string) bool { return p != nil && p.Encrypt.Has([]byte(name)) }

// conceal returns headers with other values in the place of those that are encrypted,
// as long as the text of these. A value that cannot be stamped stays, for its fault to be found.
func (p *Proof) conceal(headers []Header) []Header {
	if p == nil || p.Encrypt.Empty() {
		return headers
	}
	headers = slices.Clone(headers)
	for i, h := range headers {
		if !p.conceals(h.Name) {
			continue
		}
		headers[i].Values = slices.Clone(h.Values)
		for j, v := range h.Values {
			if clean, err := field.CleanValue(v); err == nil {
				headers[i].Values[j] = strings.Repeat("A", proof.EncryptedLen(len(clean)))
			}
		}
	}
	return headers
}

// setLayout sets layout. headers are those that setHeaders has checked.
func (s *Stamp) setLayout(headers []Header, p *Proof) error {
	if !s.provenance {
		return errors.New("a proof needs provenance")
	}
	proven := make([]proof.Header, len(headers))
	at := len(opening) // of the header in the block
	number, start := 0, at
	for i, h := range headers {
		if len(s.parts) > 0 && at == start+len(s.parts[number].lines) {
			number, start = number+1, at
		}
		proven[i] = proof.Header{Name: s.names[i], Encrypted: p.conceals(h.Name), Part: number}
		for _, v := range h.Values {
			clean := field.TrimValue(v)
			size := len(clean)
			if proven[i].Encrypted {
				size = proof.EncryptedLen(size)
			}
			at += len(h.Name) + len(": ")
			proven[i].Values = append(proven[i].Values, clean)
			proven[i].At = append(proven[i].At, at-start)
			at += size + len(crlf)
		}
	}
	var err error
	s.layout, err = proof.NewLayout(s.account, proven, p.ForReceiver, p.Signed)
	return err
}

// ErrClock refuses a message because the server's clock shows a time that no proof can hold.
var ErrClock = errors.New("the clock of the server shows a year that has not four digits")

// Published is a message that AppendProven stamps and proves.
type Published struct {
	Subject, Block, Payload []byte
	Sign                    bool // the proof shall be a signature
}

// smallParts is how many parts a stamp can have so that AppendProven does not allocate.
const smallParts = 64

// AppendProven does the same as AppendReport, and appends the proof that p makes of the
// message, after the other lines. The stamp must have been compiled with Options.Proof.
func (s *Stamp) AppendProven(dst []byte, m *Published, p *proof.Prover, r *Report) ([]byte, error) {
	start := len(dst)
	dst, err := s.AppendReport(dst, m.Subject, m.Block, r)
	if err != nil {
		return dst, err
	}
	dst = dst[:len(dst)-len(crlf)]
	// Provenance ends the lines, so what is proven is found from the end.
	timeAt := len(dst) - len(crlf) - len(timeLayout)
	if !bytes.HasSuffix(dst[:timeAt], []byte(TimeName+": ")) {
		return dst[:start], ErrClock
	}
	message := proof.Message{
		Lines:   len(dst) - (maxProvenance - MaxProvenanceSubject + len(s.account) + len(m.Subject)),
		Subject: m.Subject, Time: dst[timeAt : timeAt+len(timeLayout)],
		Sign: m.Sign,
	}
	if s.parts != nil {
		var few [smallParts]int
		message.Parts = few[:0]
		lines := 0
		for i := range s.parts {
			at := -1
			if s.parts[i].appliesTo(m.Subject) {
				at = lines
				lines += len(s.parts[i].lines)
			}
			message.Parts = append(message.Parts, at)
		}
		message.Lines -= lines
	} else if s.block != "" {
		message.Lines -= len(s.block) - len(opening) - len(crlf)
	}
	if dst, r.Proof, err = p.Append(dst, s.layout, &message, m.Payload); err != nil {
		return dst[:start], err
	}
	return append(dst, crlf...), nil
}
