package claim

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// fullUser has every field of a user JWT set. It finds the fields by reflection, so
// it includes those that a later jwt/v2 adds.
func fullUser(t testing.TB) *jwt.UserClaims {
	u := newUser(t)
	subject := u.Subject
	fill(t, reflect.ValueOf(u).Elem(), "user")
	u.Subject = subject
	u.Tags = jwt.TagList{"a:b", "c"} // decoded in lower case
	u.Type, u.Version = jwt.UserClaim, 2
	u.Limits.Subs = math.MaxInt64 // no float64
	return u
}

func fill(t testing.TB, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("<" + path + ">&\u2028")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(math.MaxInt32)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), path+"[0]")
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	default:
		t.Fatalf("%s: this test has no value for a field of kind %s", path, v.Kind())
	}
}

func TestEncode(t *testing.T) {
	c := &Claim{
		Headers: []Header{
			{Name: "Session", Values: []string{" <a>&\u00e9 "}},
			{Name: "Roles", Values: []string{"x", "y"}, Subjects: []string{"api.>"}},
			{Name: "Auth", Values: []string{"z"}, Subjects: []string{"a", "b"}},
			{Name: "More", Values: []string{"1", "2"}},
		},
		Publish: []string{"Session"}, Subscribe: []string{"*"},
	}
	want := *c
	want.Headers = append([]Header{{Name: "Session", Values: []string{"<a>&\u00e9"}}}, c.Headers[1:]...)
	for name, user := range map[string]*jwt.UserClaims{"full": fullUser(t), "bare": newUser(t)} {
		before := *user
		pair, pub := newAccount(t)
		start := time.Now().Unix()
		token, err := Encode(user, c, pair)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*user, before) || c.Headers[0].Values[0] != " <a>&\u00e9 " {
			t.Errorf("%s: the caller's claims are changed", name)
		}
		if strings.Contains(rawPayload(t, token), `":" `) {
			t.Errorf("%s: the value is written untrimmed", name)
		}
		got, err := FromUserJWT(token, Limits{})
		if err != nil || !same(got, &want) {
			t.Errorf("%s: the claim that was read back is the wanted one: %t; error %v", name, same(got, &want), err)
		}
		u, err := jwt.DecodeUserClaims(token)
		if err != nil {
			t.Fatal(err)
		}
		if u.Issuer != pub || u.IssuedAt < start || u.ID == "" {
			t.Errorf("%s: issuer, time of issue or id is not set", name)
		}
		plain := before // what jwt/v2 makes of the same user
		token, err = plain.Encode(pair)
		if err != nil {
			t.Fatal(err)
		}
		p, err := jwt.DecodeUserClaims(token)
		if err != nil {
			t.Fatal(err)
		}
		p.IssuedAt, p.ID = u.IssuedAt, u.ID
		if !reflect.DeepEqual(u, p) {
			t.Errorf("%s: the user claims in the JWT differ from the caller's:\n%+v\n%+v", name, u, p)
		}
		if u.IssuedAt, u.Issuer, u.ID = before.IssuedAt, before.Issuer, before.ID; name == "full" && !reflect.DeepEqual(*u, before) {
			t.Errorf("user claims differ from the caller's:\n%+v\n%+v", *u, before)
		}
	}
}

func TestEncodeNothing(t *testing.T) {
	pair, _ := newAccount(t)
	for _, c := range []*Claim{nil, {}} {
		user := newUser(t)
		before := *user
		token, err := Encode(user, c, pair)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(rawPayload(t, token), "header") || !reflect.DeepEqual(*user, before) {
			t.Error("there is a claim, or the caller's claims are changed")
		}
		if _, err := jwt.DecodeUserClaims(token); err != nil {
			t.Error(err)
		}
	}
}

func TestEncodeRefused(t *testing.T) {
	account, _ := newAccount(t)
	userKey, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := account.PublicKey()
	wiped, _ := newAccount(t)
	wiped.Wipe()
	tests := []struct {
		name string
		user *jwt.UserClaims
		c    *Claim
		key  nkeys.KeyPair
		want error
	}{
		{"no user", nil, nil, account, ErrUser},
		{"user is an account", jwt.NewUserClaims(pub), nil, account, ErrUser},
		{"no key", newUser(t), nil, nil, ErrIssuer},
		{"user's key", newUser(t), one("A", "x"), userKey, ErrIssuer},
		{"wiped key", newUser(t), one("A", "x"), wiped, ErrIssuer},
		{"claim", newUser(t), one("A"), account, ErrValuesEmpty},
		{"block", newUser(t), one("A", strings.Repeat("x", MaxBlock)), account, ErrBlockTooLarge},
		{"above the defaults", newUser(t), one("A", strings.Repeat("x", DefaultMaxBytes)), account, nil},
	}
	for _, tt := range tests {
		token, err := Encode(tt.user, tt.c, tt.key)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || (token == "") == (err == nil) {
			t.Errorf("%s: Encode returned error %v, want %v", tt.name, err, tt.want)
		}
	}
}
