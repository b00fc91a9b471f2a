package claim

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp.example/claim/field"
)

// Encode returns the JWT of user with the claim c in its "nats" object, signed by
// key. key is the account's key, or one of its signing keys that has no scope; for
// a signing key, user.IssuerAccount must be the account's public key. If c is nil
// or empty, the result is an ordinary user JWT. Encode sets issuer, time of issue
// and id in the JWT, and does not change user.
//
// Encode checks the claim, but not against a server's max_headers and max_bytes,
// which it cannot know. If you know them, call c.Check.
func Encode(user *jwt.UserClaims, c *Claim, key nkeys.KeyPair) (string, error) {
	if user == nil || !nkeys.IsValidPublicUserKey(user.Subject) {
		return "", ErrUser
	}
	if key == nil {
		return "", fmt.Errorf("%w; found no key", ErrIssuer)
	}
	if pub, err := key.PublicKey(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrIssuer, err)
	} else if !nkeys.IsValidPublicAccountKey(pub) {
		return "", ErrIssuer
	}
	u := *user
	if c.empty() {
		return u.Encode(key)
	}
	if err := c.Check(MaxLimits); err != nil {
		return "", err
	}
	u.Type = jwt.UserClaim
	data, err := c.addTo(&u.User)
	if err != nil {
		return "", fmt.Errorf("encode user claims: %w", err)
	}
	generic := jwt.GenericClaims{ClaimsData: u.ClaimsData, Data: data}
	return generic.Encode(key)
}

// addTo returns the fields of user and of the claim. The fields of user stay raw
// JSON: as float64, limits above 2^53 would become other numbers.
func (c *Claim) addTo(user *jwt.User) (map[string]any, error) {
	raw, err := json.Marshal(user)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	data := make(map[string]any, len(fields)+2)
	for k, v := range fields {
		data[k] = v
	}
	if len(c.Headers) > 0 {
		data[keyHeaders] = headerList(c.Headers)
	}
	if p := c.permissionFields(); len(p) > 0 {
		data[keyPermissions] = p
	}
	return data, nil
}

func (c *Claim) permissionFields() map[string]any {
	p := map[string]any{}
	if len(c.Publish) > 0 {
		p["publish"] = map[string]any{"allow": c.Publish}
	}
	if len(c.Subscribe) > 0 {
		p["subscribe"] = map[string]any{"allow": c.Subscribe}
	}
	return p
}

// headerList is written as one JSON object that keeps the order of the headers.
type headerList []Header

// MarshalJSON writes the shortest form of each header.
func (hs headerList) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, h := range hs {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(h.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(h.shortestForm())
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

func (h *Header) shortestForm() any {
	values := make([]string, len(h.Values))
	for i, v := range h.Values {
		values[i] = field.TrimValue(v)
	}
	var value any = values
	if len(values) == 1 {
		value = values[0]
	}
	if len(h.Subjects) == 0 {
		return value
	}
	return map[string]any{"value": value, "subjects": h.Subjects}
}
