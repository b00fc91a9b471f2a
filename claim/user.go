package claim

// Keys of a user JWT. The claim is the two last ones, in the object of keyNats or
// beside it.
const (
	keyNats        = "nats"
	keyHeaders     = "headers"
	keyPermissions = "header_permissions"
)

// location is an object that may hold the claim: the payload of a JWT, its "nats"
// object, or the template of a scope.
type location struct {
	headers, permissions *node // the values of the claim's keys, nil if absent
	faults               Errors
}

// member reads the value of key, and keeps it if key belongs to the claim.
func (p *location) member(r *reader, key []byte) error {
	slot, want := &p.headers, keyHeaders
	switch {
	case isKey(key, keyHeaders):
	case isKey(key, keyPermissions):
		slot, want = &p.permissions, keyPermissions
	default:
		return r.skip()
	}
	if string(key) != want {
		p.faults.add("", keyCase(string(key), want))
	} else if *slot != nil {
		p.faults.add("", keyTwice(want))
	}
	n, err := r.value(maxDepth)
	*slot = &n
	return err
}

// hasClaim reports whether one of the claim's keys was read.
func (p *location) hasClaim() bool { return p.keys() > 0 }

// keys returns how many of the claim's keys were read.
func (p *location) keys() (n int) {
	for _, value := range []*node{p.headers, p.permissions} {
		if value != nil {
			n++
		}
	}
	return n
}

// claim returns the claim at p. outer are the faults of the objects around p.
func (p *location) claim(l Limits, outer Errors) (*Claim, error) {
	b := builder{faults: append(outer, p.faults...)}
	return b.build(p.headers, p.permissions, l)
}

// outerKey checks a key on the way to the claim, which must be there once and in
// lower case. Its faults are reported only if a claim is found: how upstream reads
// a JWT without a claim is not this package's concern.
type outerKey struct {
	seen   bool
	faults Errors
}

// note records that key is there. A JSON reader may take it for want.
func (o *outerKey) note(key []byte, want string) {
	if string(key) != want {
		o.faults.add("", keyCase(string(key), want))
	} else if o.seen {
		o.faults.add("", keyTwice(want))
	}
	o.seen = true
}

// FromUserJWT returns the headers claim of a user JWT, with trimmed values. The
// caller has verified the JWT's signature. The claim is nil if there is none or if
// it is empty. The error is an Errors with all faults.
func FromUserJWT(token string, l Limits) (*Claim, error) {
	data, err := payload(token)
	if err != nil {
		return nil, asErrors(err)
	}
	if !mayHoldClaim(data) {
		return nil, nil
	}
	_, c, err := fromUserPayload(data, l)
	return c, err
}

// fromUserPayload returns the claim in the payload of a user JWT, and how many keys it was read from.
func fromUserPayload(data []byte, l Limits) (keys int, c *Claim, err error) {
	var top, inner location
	var nats outerKey
	err = readObject(data, func(r *reader, key []byte) error {
		if !isKey(key, keyNats) {
			return top.member(r, key)
		}
		nats.note(key, keyNats)
		return r.inObject(func(key []byte) error { return inner.member(r, key) })
	})
	switch {
	case err != nil:
		return 0, nil, asErrors(err)
	case top.hasClaim() && inner.hasClaim():
		nats.faults.add("", ErrTwoPlaces)
		nats.faults = append(nats.faults, top.faults...)
		c, err = inner.claim(l, nats.faults)
	case top.hasClaim():
		c, err = top.claim(l, nats.faults)
	case inner.hasClaim():
		c, err = inner.claim(l, nats.faults)
	}
	return top.keys() + inner.keys(), c, err
}

func asErrors(err error) Errors { return Errors{&Error{Err: err}} }
