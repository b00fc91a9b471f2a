package oidc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/callout/session/internal/stored"
)

// sign signs a payload as it is written.
func sign(t testing.TB, key jose.JSONWebKey, payload string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func config() *Config {
	c := &Config{Config: openid.Defaults(), Audience: []string{"app"}, Scopes: []string{"api"}}
	c.Issuer = "i"
	return c
}

// readText reads the claims of a payload.
func readText(c *Config, payload []byte) (*session.Session, error) {
	claims, err := stored.Object(payload)
	if err != nil {
		return nil, err
	}
	return c.read(&openid.Token{Claims: claims})
}

func TestReadClaims(t *testing.T) {
	later, over := time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Hour).Unix()
	// A claim that a user can choose comes after the provider's claim.
	base := `{"iss":"i","sub":"mallory","aud":"app","scope":"api","exp":` + fmt.Sprint(later)
	for payload, want := range map[string]bool{
		base + `}`:                                 true,
		base + `,"nbf":0,"iat":null}`:              true, // as some providers write "none"
		base + `,"nbf":1.5}`:                       true,
		base + `,"aud":["x","app"]}`:               true,
		base + `,"scope":["x","api"]}`:             true,
		base + `,"scope":null,"scp":"x api"}`:      true,
		base + `,"AUD":"other","Exp":1,"Iss":"j"}`: true,
		`{"iss":"i","sub":"mallory","scope":"api","aud":"other","AUD":"app","exp":` + fmt.Sprint(later) + `}`:       false,
		`{"iss":"i","sub":"mallory","scope":"api","Aud":"app","exp":` + fmt.Sprint(later) + `}`:                     false,
		fmt.Sprintf(`{"iss":"i","sub":"mallory","scope":"api","aud":"app","exp":%d,"Exp":%d}`, over, later):         false,
		`{"iss":"i","sub":"mallory","scope":"api","aud":"app","EXP":` + fmt.Sprint(later) + `}`:                     false,
		`{"iss":"j","iſs":"i","ISS":"i","sub":"mallory","scope":"api","aud":"app","exp":` + fmt.Sprint(later) + `}`: false,
		`{"iss":"i","ſub":"mallory","Sub":"mallory","scope":"api","aud":"app","exp":` + fmt.Sprint(later) + `}`:     false,
		`{"iss":"i","sub":"mallory","Scope":"api","aud":"app","exp":` + fmt.Sprint(later) + `}`:                     false,
		base + `,"exp":null}`:                         false,
		base + `,"exp":0}`:                            false,
		base + `,"exp":"` + fmt.Sprint(later) + `"}`:  false,
		base + `,"exp":` + fmt.Sprint(later) + `000}`: false, // milliseconds
		base + `,"exp":1e300}`:                        false,
		base + `,"nbf":"0"}`:                          false,
		base + `,"nbf":-1}`:                           false,
		base + `,"nbf":` + fmt.Sprint(later) + `}`:    false,
		base + `,"iat":` + fmt.Sprint(later) + `}`:    false,
		base + `,"aud":["app",1]}`:                    false,
		base + `,"aud":{"app":"app"}}`:                false,
		base + `,"aud":["app app"]}`:                  false,
		base + `,"iss":["i"]}`:                        false,
		base + `,"sub":7}`:                            false,
		base:                                          false,
		`["i"]`:                                       false,
		`null`:                                        false,
		``:                                            false,
	} {
		got, err := readText(config(), []byte(payload))
		if (got != nil) != want || (err == nil) != want {
			t.Errorf("claims %s: accepted must be %t; found error %v", payload, want, err)
		}
	}
}

// A session's key depends on the provider's claim for the person alone: it is the same for all tokens of that person, whatever
// else they say.
func TestKeyIsOfTheSubject(t *testing.T) {
	key := func(sub, iss, more string) string {
		c := config()
		c.Issuer = iss
		payload := fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":"app","scope":"api","exp":%d%s}`, iss, sub, time.Now().Add(time.Hour).Unix(), more)
		got, err := readText(c, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		return got.Key
	}
	alice := key("alice", "i", "")
	if key("alice", "i", `,"jti":"2"`) != alice {
		t.Error("two tokens of one person have different keys")
	}
	for name, other := range map[string]string{
		"folded": key("mallory", "i", `,"Sub":"alice"`), "provider": key("alice", "j", ""), "person": key("alic", "i", ""),
	} {
		if other == alice {
			t.Errorf("%s: it has the key of another person", name)
		}
	}
	if strings.Contains(alice, "alice") || len(alice) != 32 {
		t.Errorf("the session's key is %s, want 32 characters that do not show the subject", alice)
	}
}

// A session expires when the check would refuse its token: at the token's end plus the skew.
func TestExpires(t *testing.T) {
	end := time.Now().Add(time.Hour).Unix()
	got, err := readText(config(), fmt.Appendf(nil, `{"iss":"i","sub":"s","aud":"app","scope":"api","exp":%d.9}`, end))
	if err != nil || !got.Expires.Equal(time.Unix(end+30, 0)) {
		t.Errorf("expected the end of the token and 30s; found %v, error %v", got, err)
	}
}

// However a token is changed, a session comes of it only with the claims that were signed.
func FuzzFind(f *testing.F) {
	key, payload := newKey(f, ""), fmt.Sprintf(`{"iss":%q,"sub":"s","aud":"app","scope":"api","exp":%d}`, issuer, time.Now().Add(1000*time.Hour).Unix())
	good := sign(f, key, payload)
	var want map[string]any
	if err := json.Unmarshal([]byte(payload), &want); err != nil {
		f.Fatal(err)
	}
	r := &remote{keys: "/keys", set: public(f, key)}
	s := openAt(f, r, "scopes: [api]")
	defer s.Close()
	parts := strings.Split(good, ".")
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0." + parts[1] + ".")
	f.Add(parts[0] + "." + parts[1] + "..")
	f.Add(parts[0] + "." + parts[1][:len(parts[1])-2] + "." + parts[2])
	f.Fuzz(func(t *testing.T, text string) {
		got, err := s.Find(t.Context(), &session.Request{Credential: session.Credential{Kind: session.Token, Value: text}})
		switch {
		case (got == nil) == (err == nil):
			t.Errorf("Find returned session %v and error %v, want one of the two", got, err)
		case got != nil && !reflect.DeepEqual(got.Data, want):
			t.Errorf("%q gives claims that were not signed", text)
		case text == good && got == nil:
			t.Errorf("the token itself is refused: %v", err)
		}
	})
}
