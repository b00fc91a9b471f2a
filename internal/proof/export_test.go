package proof

import "stamp.example/claim/field"

// SetCounter sets the counter of a prover that has made a proof.
func SetCounter(p *Prover, n uint64) { p.current.Load().next.Store(n) }

// Entry returns the entry of a name whose values are not encrypted.
func Entry(name string) [3]byte { return entry(field.Fold(name), false) }

// SetEpoch makes p use a salt, and a counter for its next proof.
func SetEpoch(p *Prover, salt [16]byte, counter uint32) error {
	e := &epoch{salt: salt}
	e.next.Store(uint64(counter))
	if p.receiver != nil {
		var err error
		if e.aead, err = p.receiver.aead(salt[:]); err != nil {
			return err
		}
	}
	p.current.Store(e)
	return nil
}
