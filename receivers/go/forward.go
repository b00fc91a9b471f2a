package stamp

import (
	"encoding/binary"

	"stamp.example/receivers/go/internal/wire"
)

// ForwardedProof is the header in which a service passes on the proof of a request that it works on.
const ForwardedProof = wire.ForwardedProof

// IsForwardedProof reports whether a header is that of a forwarded proof, in any spelling. Adapters remove these from a request before they
// add one, since a second one would make the request nobody's.
func IsForwardedProof(name string) bool { return wire.Fold(name) == wire.Fold(wire.ForwardedProof) }

// forwardedVersion is the first byte of a forwarded proof.
const forwardedVersion = 1

// Forward returns the value of the header Stamp-Forwarded-Proof, with which a service that works on behalf of a
// user passes on the proof that it received. It forwards only what it would believe itself; replays are not looked at.
func Forward(m Message, t *Trust) (string, error) {
	j := newJudge(t)
	defer j.release()
	if _, err := j.identify(m); err != nil {
		return "", err
	}
	if !t.proven || !j.readable {
		return "", errProofKey
	}
	kind := j.proof.Kind
	value := []byte{forwardedVersion}
	value = binary.BigEndian.AppendUint16(value, uint16(len(j.raw)))
	value = append(value, j.raw...)
	if wire.HasTag(kind) {
		value = append(value, j.digests.tag[:]...)
	}
	if wire.HasSignature(kind) {
		value = append(value, j.digests.sum[:]...)
	}
	return string(wire.AppendText(nil, j.appendText(value))), nil
}

// Forwarded returns who sent the message whose proof is forwarded in a message: on behalf of whom its sender asks, and for which
// subject and when that user asked. It says nothing about the sender of the message itself, which Identify does, and nothing
// about the payload.
func Forwarded(m Message, t *Trust) (Identity, error) {
	j := newJudge(t)
	defer j.release()
	id, err := j.forwarded(m)
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

func (j *judge) forwarded(m Message) (id Identity, err error) {
	j.group(m.Header)
	g := j.find(foldedForwarded)
	switch {
	case g == nil:
		return id, errAnonymous
	case g.crowded || g.name != wire.ForwardedProof || len(g.values) != 1:
		return id, errProofMalformed
	}
	value, exact := wire.AppendExact(nil, g.values[0])
	switch {
	case !exact || len(value) == 0:
		return id, errProofMalformed
	case value[0] != forwardedVersion:
		return id, errProofVersion
	case len(value) < 3 || len(value)-3 < int(binary.BigEndian.Uint16(value[1:])):
		return id, errProofMalformed
	}
	length := int(binary.BigEndian.Uint16(value[1:]))
	rest := value[3+length:]
	j.raw = append(j.raw[:0], value[3:3+length]...)
	// The keys are looked at before the fields, which anybody can make many of.
	if err := j.readProof(); err != nil {
		return id, err
	}
	rest, ok := j.takeDigests(j.proof.Kind, rest)
	text := string(rest)
	fields, exact := wire.ParseFields(text)
	if !ok || !exact {
		return id, errProofMalformed
	}
	j.onlyFields(fields)
	err = j.prove(func() error {
		if string(j.appendText(nil)) != text {
			return errProofMalformed
		}
		return nil
	})
	if err != nil {
		return id, err
	}
	id, err = j.identity()
	id.Proven = true
	return id, err
}

// takeDigests reads the digests that stand for the payload, and returns what comes after them.
func (j *judge) takeDigests(kind byte, rest []byte) ([]byte, bool) {
	j.digests.known = true
	take := func(dst []byte) bool {
		if len(rest) < len(dst) {
			return false
		}
		rest = rest[copy(dst, rest):]
		return true
	}
	ok := (!wire.HasTag(kind) || take(j.digests.tag[:])) && (!wire.HasSignature(kind) || take(j.digests.sum[:]))
	return rest, ok
}

// onlyFields makes the fields of F_text the only groups.
func (j *judge) onlyFields(fields []wire.Field) {
	headers := make(map[string][]string, len(fields))
	for _, f := range fields {
		headers[f.Name] = append(headers[f.Name], f.Values...)
	}
	j.groups = j.groups[:0]
	j.group(headers)
}
