package claim

// The keys that bring a headers claim.
const (
	keyNats        = "nats"
	keyHeaders     = "headers"
	keyPermissions = "header_permissions"
)

// place is an object that may hold the claim's two keys.
type place struct {
	headers, permissions *node
	faults               Errors
}

// member reads the value of key, and keeps it when it is the claim's.
func (p *place) member(r *reader, key []byte) error {
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

func (p *place) found() bool { return p.headers != nil || p.permissions != nil }

// claim makes the claim of p, whose surroundings may have faults of their own.
func (p *place) claim(l Limits, around Errors) (*Claim, error) {
	f := former{faults: append(around, p.faults...)}
	return f.finish(p.headers, p.permissions, l)
}

// once notes that key, which a reader takes for want, may stand there once and
// as it is spelled. The faults count only where a claim is found: without one,
// how upstream reads a JWT is not for this package to judge.
type once struct {
	seen   bool
	faults Errors
}

func (o *once) note(key []byte, want string) {
	if string(key) != want {
		o.faults.add("", keyCase(string(key), want))
	} else if o.seen {
		o.faults.add("", keyTwice(want))
	}
	o.seen = true
}

// FromUserJWT returns the headers claim of a user JWT, whose signature the
// caller has verified, with its values trimmed. It returns nil and nil when
// there is none or it says nothing; an Errors with all faults otherwise.
func FromUserJWT(token string, l Limits) (*Claim, error) {
	data, err := payload(token)
	if err != nil {
		return nil, asErrors(err)
	}
	if !mayClaim(data) {
		return nil, nil
	}
	return fromUserPayload(data, l)
}

func fromUserPayload(data []byte, l Limits) (*Claim, error) {
	var top, inner place
	var nats once
	err := readObject(data, func(r *reader, key []byte) error {
		if !isKey(key, keyNats) {
			return top.member(r, key)
		}
		nats.note(key, keyNats)
		return r.inObject(func(key []byte) error { return inner.member(r, key) })
	})
	switch {
	case err != nil:
		return nil, asErrors(err)
	case top.found() && inner.found():
		nats.faults.add("", ErrTwoPlaces)
		nats.faults = append(nats.faults, top.faults...)
		return inner.claim(l, nats.faults)
	case top.found():
		return top.claim(l, nats.faults)
	case inner.found():
		return inner.claim(l, nats.faults)
	}
	return nil, nil
}

func asErrors(err error) Errors { return Errors{&Error{Err: err}} }
