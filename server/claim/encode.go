package claim

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/server/field"
)

// Encode returns the JWT of user with the claim c in its "nats" object, signed
// by key: the account's, or one of its signing keys that has no scope (then
// user.IssuerAccount names the account). A claim that is nil or says nothing
// leaves an ordinary user JWT. Issuer, time of issue and id are set in the JWT;
// user itself is not changed.
//
// The claim is checked, except for a server's max_headers and max_bytes, which
// the issuer cannot know: call c.Check with them where they are known.
func Encode(user *jwt.UserClaims, c *Claim, key nkeys.KeyPair) (string, error) {
	if user == nil || !nkeys.IsValidPublicUserKey(user.Subject) {
		return "", ErrUser
	}
	if key == nil {
		return "", fmt.Errorf("%w: there is no key", ErrIssuer)
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
	data, err := c.with(&u.User)
	if err != nil {
		return "", fmt.Errorf("encode user claims: %w", err)
	}
	generic := jwt.GenericClaims{ClaimsData: u.ClaimsData, Data: data}
	return generic.Encode(key)
}

// with returns the fields of user and the claim's. They stay raw JSON: decoded
// they would turn limits above 2^53 into other numbers.
func (c *Claim) with(user *jwt.User) (map[string]any, error) {
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

// headerList writes headers as one object, in their order.
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
		value, err := json.Marshal(h.form())
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

func (h *Header) form() any {
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
