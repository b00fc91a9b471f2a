package stamp

import (
	"fmt"
	"time"

	"stamp.example/receivers/go/internal/wire"
)

// Identity says who sent a message. Its zero value is nobody.
type Identity struct {
	User    string    // never empty, if somebody sent the message
	Account string    // the account of the publisher, if the trust has accounts
	Subject string    // the subject as the publisher named it, if the trust has accounts
	Time    time.Time // when it was published, if the trust has accounts
	Proven  bool      // by a proof; else it is what the last server wrote
	Server  string    // the public key with which it was proven, as the trust has it: N... of a signature, or else X...; empty without a proof
	headers []header
}

// Format implements fmt.Formatter. It leaves out the values of headers, which may be secrets.
func (id Identity) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{User:%q Account:%q Subject:%q Time:%s Proven:%t Server:%s}", id.User, id.Account, id.Subject, id.Time.Format(time.RFC3339Nano), id.Proven, id.Server)
}

// header is a header that the service reads.
type header struct {
	folded string
	values []string
}

// Values returns the values of a header that is in the trust's One or Many. There are none if the message has no such header,
// or if only another receiver can decrypt it. The values are the message's own: do not change them.
func (id Identity) Values(name string) []string {
	folded := wire.Fold(name)
	for _, h := range id.headers {
		if h.folded == folded {
			return h.values
		}
	}
	return nil
}

// Value returns the value of a header that is in the trust's One or Many. It is empty if there is no value, or more
// than one, which can only be for a header of Many.
func (id Identity) Value(name string) string {
	if values := id.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}
