package introspection

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

const secret = "token-4711"

func open(t *testing.T, fields string) session.Source {
	t.Helper()
	return sourcetest.Open(t, Parse, "kind: introspection\n"+fields)
}

func find(t *testing.T, s session.Source) (*session.Session, error) {
	t.Helper()
	got, err := s.Find(t.Context(), &session.Request{Credential: session.Credential{Kind: session.Token, Value: secret}})
	if err != nil && (strings.Contains(err.Error(), "4711") || strings.Contains(err.Error(), "hush")) {
		t.Error("the error tells a secret")
	}
	return got, err
}

// server answers with a body, if the client, which has an odd name, authenticates itself.
func server(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, password, basic := r.BasicAuth()
		if !basic {
			id, password = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
		}
		// RFC 6749, section 2.3.1: both are encoded in basic authentication.
		want := [2]string{"a:b", "hush &"}
		if basic {
			want = [2]string{"a%3Ab", "hush+%26"}
		}
		if id != want[0] || password != want[1] || r.Method != http.MethodPost || r.PostFormValue("token") != secret {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return fmt.Sprintf("url: %q, client_id: \"a:b\", client_secret: \"hush &\"\n", s.URL)
}

func TestKnows(t *testing.T) {
	exp := time.Now().Add(time.Hour).Unix()
	body := fmt.Sprintf(`{"active":true,"sub":"alice","scope":"api admin","aud":["app"],"iss":"i","exp":%d,"nbf":1}`, exp)
	for _, auth := range []string{"basic", "post"} {
		s := open(t, server(t, 200, body)+"audience: [x, app], scopes: [api], issuer: i, auth: "+auth)
		got, err := find(t, s)
		if err != nil {
			t.Fatalf("auth: %s: the token was refused: %v", auth, err)
		}
		if got.Data["sub"] != "alice" || got.Expires.Unix() != exp || got.Key == "" || strings.Contains(got.Key, secret) {
			t.Errorf("auth: %s: expected the session of alice with its end, and a key that does not show the token; found %v", auth, got)
		}
	}
}

// A refresh token is active, too, but it opens no connection.
func TestRefreshToken(t *testing.T) {
	for field, unknown := range map[string]bool{
		`"token_use":"refresh_token"`: true, `"typ":"Refresh"`: true, `"typ":"Offline"`: true,
		`"token_use":"access_token"`: false, `"typ":"Bearer"`: false, `"token_type":"Bearer"`: false,
	} {
		s := open(t, server(t, 200, `{"active":true,"sub":"alice",`+field+`}`))
		_, err := find(t, s)
		if errors.Is(err, session.ErrUnknown) != unknown || !unknown && err != nil || unknown && !strings.Contains(err.Error(), "refresh token") {
			t.Errorf("answer with %s: unknown as a refresh token must be %t; found error %v", field, unknown, err)
		}
	}
}

// A token that was just issued is accepted if the provider's clock is a little ahead.
func TestClockOfTheServer(t *testing.T) {
	for ahead, known := range map[time.Duration]bool{10 * time.Second: true, 2 * maxSkew: false} {
		body := fmt.Sprintf(`{"active":true,"nbf":%d}`, time.Now().Add(ahead).Unix())
		if _, err := find(t, open(t, server(t, 200, body))); (err == nil) != known || !known && !errors.Is(err, session.ErrUnknown) {
			t.Errorf("token whose life begins in %s: known must be %t; found error %v", ahead, known, err)
		}
	}
}

// sent returns the form and the basic authentication that the server got.
func sent(t *testing.T, cfg Config, token string) (form url.Values, basic bool) {
	t.Helper()
	cfg.URL = "http://x"
	r, err := source{&cfg}.request(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ParseForm(); err != nil {
		t.Fatal(err)
	}
	_, _, basic = r.BasicAuth()
	return r.PostForm, basic
}

func TestHowTheClientSaysWhoItIs(t *testing.T) {
	for name, test := range map[string]struct {
		cfg   Config
		form  url.Values
		basic bool
	}{
		"basic":             {Config{Auth: "basic", ClientID: "c", ClientSecret: "s"}, url.Values{}, true},
		"post":              {Config{Auth: "post", ClientID: "c", ClientSecret: "s"}, url.Values{"client_id": {"c"}, "client_secret": {"s"}}, false},
		"certificate":       {Config{Auth: "basic", ClientID: "c"}, url.Values{"client_id": {"c"}}, false},
		"certificate, bare": {Config{Auth: "basic"}, url.Values{}, false},
		"none":              {Config{Auth: "none"}, url.Values{}, false},
		"hint":              {Config{Auth: "basic", ClientID: "c", ClientSecret: "s", Hint: "access_token"}, url.Values{"token_type_hint": {"access_token"}}, true},
	} {
		odd := "a&token=b=%zz+c;d"
		form, basic := sent(t, test.cfg, odd)
		test.form.Set("token", odd)
		if !reflect.DeepEqual(form, test.form) || basic != test.basic {
			t.Errorf("%s: the server got the form %v, basic authentication %t", name, form, basic)
		}
	}
}

// A server that wants a Bearer token gets it, and nothing else.
func TestBearer(t *testing.T) {
	var authorization []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Values("Authorization")
		fmt.Fprint(w, `{"active":true,"sub":"alice"}`)
	}))
	t.Cleanup(s.Close)
	for fields, want := range map[string]string{"auth: bearer, token: \"hush-1\"": "[Bearer hush-1]", "auth: none": "[]"} {
		got, err := find(t, open(t, fmt.Sprintf("url: %q, %s", s.URL, fields)))
		if err != nil || got.Data["sub"] != "alice" || fmt.Sprint(authorization) != want {
			t.Errorf("%s: found %v, error %v; Authorization was %v, want %s", fields, got, err, authorization, want)
		}
	}
}

func TestDoesNotKnow(t *testing.T) {
	future := time.Now().Add(time.Minute).Unix()
	for _, body := range []string{
		`{"active":false}`, `{"active":false,"sub":"alice"}`, `{"active":false,"Active":true,"aud":"app","scope":"api","iss":"i"}`,
		`{"active":true,"aud":"other","AUD":"app","scope":"api","iss":"i"}`, `{"active":true,"aud":["app x"],"scope":"api","iss":"i"}`,
		`{"active":true,"aud":"other","scope":"api","iss":"i"}`, `{"active":true,"scope":"api","iss":"i"}`,
		`{"active":true,"aud":"app","scope":"apix","iss":"i"}`, `{"active":true,"aud":"app","scope":"api","iss":"j"}`,
		fmt.Sprintf(`{"active":true,"aud":"app","scope":"api","iss":"i","nbf":%d}`, future),
	} {
		s := open(t, server(t, 200, body)+"audience: app, scopes: [api], issuer: i")
		if got, err := find(t, s); got != nil || !errors.Is(err, session.ErrUnknown) {
			t.Errorf("answer %s: expected the token to be unknown; found error %v", body, err)
		}
	}
}

// If the answer is not certain, the source returns an error that says neither that the token is good nor that it is not.
func TestDoubt(t *testing.T) {
	for body, status := range map[string]int{
		`{"active":true}`: 500, `{"active":false}`: 401, ``: 200, `[]`: 200, `{}`: 200, `{"active":"true"}`: 200,
		`{"active":1}`: 200, `{"active":true`: 200, `{"active":true,"exp":"soon"}`: 200, `{"active":true} `: 302,
	} {
		if got, err := find(t, open(t, server(t, status, body))); got != nil || err == nil || errors.Is(err, session.ErrUnknown) {
			t.Errorf("status %d with %s: expected an error that leaves open whether the token is good; found %v", status, body, err)
		}
	}
	wrong := strings.Replace(server(t, 200, `{"active":true}`), "hush", "hash", 1)
	if _, err := find(t, open(t, wrong)); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("the server does not know us: %v", err)
	}
}

func TestAccepts(t *testing.T) {
	s := open(t, server(t, 200, "{}"))
	for value, want := range map[string]bool{"abc.def": true, "": false, "a b": false, "a\n": false, "é": false, strings.Repeat("x", maxToken+1): false} {
		if _, ok := s.Accepts(&session.Request{Credential: session.Credential{Kind: session.Token, Value: value}}); ok != want {
			t.Errorf("Accepts(%.10q) = %t, want %t", value, ok, want)
		}
	}
	if _, ok := s.Accepts(&session.Request{Credential: session.Credential{Kind: session.Password, Value: "x"}}); ok {
		t.Error("Accepts takes a password as a token")
	}
}

// A wrong field is reported once, and not also as missing.
func TestOneFaultForOneField(t *testing.T) {
	for fields, want := range map[string]string{
		"client_id: 5, client_secret: b":             "client_id: expected a string; found a number (hint: put it in quotes)",
		"client_id: a, client_secret: 5":             "client_secret: expected a string; found a number (hint: put it in quotes)",
		"client_secret: b":                           `field "client_id" is missing: it goes together with client_secret`,
		`client_id: "", client_secret: b`:            `field "client_id" is missing: it goes together with client_secret`,
		"client_id: a":                               `field "client_secret" is missing: it goes together with client_id`,
		"client_id: 5, client_secret: b, auth: none": "expected auth: basic or post",
	} {
		err := sourcetest.Faults(t, Parse, "kind: introspection\nurl: \"https://x\"\n"+fields)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected the fault %q; found %v", fields, want, err)
		} else if n := strings.Count(err.Error(), "\n") + 1; n != 1 && !strings.Contains(fields, "none") {
			t.Errorf("%s: expected one fault; found %d: %v", fields, n, err)
		}
	}
}

func TestFaults(t *testing.T) {
	for fields, want := range map[string]string{
		"client_id: a, client_secret: b":                                 `field "url" is missing`,
		`url: "https://x"`:                                               `field "client_id" is missing: an authorization server answers registered clients only`,
		`url: "https://x", client_id: a`:                                 `field "client_secret" is missing: it goes together`,
		`url: "https://x", client_secret: b`:                             `field "client_id" is missing: it goes together`,
		`url: x, client_id: a, client_secret: b`:                         "expected a URL",
		`url: "https://x", client_id: a, client_secret: b, auth: digest`: "basic, post, bearer or none",
		`url: "https://x", auth: bearer`:                                 `field "token" is missing`,
		`url: "https://x", auth: bearer, token: "a b"`:                   "characters",
		`url: "https://x", auth: bearer, token: t, client_id: a`:         "expected auth: basic or post",
		`url: "https://x", auth: none, client_id: a, client_secret: b`:   "expected auth: basic or post",
		`url: "https://x", auth: none, token: t`:                         "token: expected auth: bearer",
		`url: "https://x", client_id: a, client_secret: b, token: t`:     "token: expected auth: bearer",
	} {
		if err := sourcetest.Faults(t, Parse, "kind: introspection\n"+fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected the fault %q; found %v", fields, want, err)
		}
	}
}
