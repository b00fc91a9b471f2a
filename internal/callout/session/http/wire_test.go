package http

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
	"stamp/internal/conf"
)

func config(t testing.TB, fields string) source {
	t.Helper()
	n, err := conf.ParseString("kind: http, url: \"http://app.test/auth\"\n" + fields + "\n")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	c := Parse(n, &faults).(*Config)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return source{c}
}

// sent returns the request as the application reads it; nil: it cannot be sent.
func sent(t testing.TB, s source, r *session.Request) *http.Request {
	t.Helper()
	request, err := http.NewRequest(s.cfg.Method, s.cfg.URL.Reveal(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.fill(request, r); err != nil {
		return nil
	}
	var wire bytes.Buffer
	if err := request.Write(&wire); err != nil {
		t.Fatalf("the request cannot be written: %v", err)
	}
	reader := bufio.NewReader(&wire)
	got, err := http.ReadRequest(reader)
	if err != nil {
		t.Fatalf("the written request cannot be read: %v", err)
	}
	if reader.Buffered() != 0 {
		t.Error("what was written is more than one request")
	}
	return got
}

// Nothing that a client presents becomes another cookie or another header.
func FuzzCredentialOnTheWire(f *testing.F) {
	inCookie := config(f, "cookie_name: sid, headers {X-From: nats}, forward {headers: [User-Agent], cookies: [theme]}")
	inHeader := config(f, "header: Authorization, scheme: Bearer, headers {X-From: nats}, forward {headers: [User-Agent], cookies: [theme]}")
	for _, seed := range []string{"abc", "a; sid=b", "a, b", "a\r\nX-From: me", " a", "a\t", "\"a\"", "é", "a=b", "\x00", ""} {
		f.Add(seed, seed, seed)
		f.Add("abc", seed, seed)
	}
	f.Fuzz(func(t *testing.T, credential, agent, theme string) {
		r := cookie(credential)
		r.Headers = map[string][]string{"User-Agent": {agent}, "X-From": {"me"}, "Cookie": {"sid=me"}}
		r.Cookies = map[string]string{"theme": theme, "sid": "me", "other": "o"}
		for _, s := range []source{inCookie, inHeader} {
			if _, ok := s.Accepts(r); !ok {
				continue
			}
			got := sent(t, s, r)
			if fits := canForward(agent) && canForwardCookie(theme); fits != (got != nil) {
				t.Errorf("sent: %t, with User-Agent %q and theme %q", got != nil, agent, theme)
			}
			if got == nil {
				continue
			}
			var want []string
			if s.cfg.isCookie() {
				want = append(want, "sid="+credential)
			} else if value := got.Header.Values("Authorization"); !slices.Equal(value, []string{"Bearer " + credential}) {
				t.Errorf("Authorization is %q, want the credential %q", value, credential)
			}
			want = append(want, "theme="+theme)
			if have := got.Header.Get("Cookie"); have != strings.Trim(strings.Join(want, "; "), " \t") || len(got.Header["Cookie"]) > 1 {
				t.Errorf("the cookies are %q, want only the credential %q and the theme %q", got.Header["Cookie"], credential, theme)
			}
			if from := got.Header.Values("X-From"); !slices.Equal(from, []string{"nats"}) {
				t.Errorf("the configured header X-From is %q, want nats", from)
			}
			sentAgent := got.Header.Values("User-Agent")
			if want := strings.Trim(agent, " \t"); want != "" && !slices.Equal(sentAgent, []string{want}) {
				t.Errorf("User-Agent is %q, want %q", sentAgent, agent)
			}
			for name := range got.Header {
				if !slices.Contains([]string{"Accept", "Authorization", "Cookie", "User-Agent", "X-From"}, name) {
					t.Errorf("the request has a header %q that nobody configured", name)
				}
			}
		}
	})
}

// A forwarded value beyond ASCII reaches the application byte for byte, as browsers would send it.
func TestForwardBeyondASCII(t *testing.T) {
	s := config(t, "forward {headers: [X-City], cookies: [city, prefs]}")
	r := cookie("abc")
	r.Headers = map[string][]string{"X-City": {"Zürich"}}
	r.Cookies = map[string]string{"city": "Zürich West", "prefs": `{"a":"\"}`}
	got := sent(t, s, r)
	if got == nil {
		t.Fatal("no request was sent")
	}
	if city, cookies := got.Header.Get("X-City"), got.Header.Get("Cookie"); city != "Zürich" || cookies != `session=abc; city=Zürich West; prefs={"a":"\"}` {
		t.Errorf("the application gets X-City %q and cookies %q, which is not what the browser sent", city, cookies)
	}
}

// A forwarded value that cannot be sent is an error. If it were left out, the application would judge the session without it.
func TestForwardedThatCannotBeSent(t *testing.T) {
	asked := 0
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer app.Close()
	s := open(t, fmt.Sprintf("url: %q, forward {headers: [X-City], cookies: [city]}", app.URL))
	for _, value := range []string{"a\r\nX-Admin: 1", "a\x00", "a\x7f", "Z\xfcrich", "\ufffd"} {
		inHeader, inCookie := cookie("abc"), cookie("abc")
		inHeader.Headers, inCookie.Cookies = map[string][]string{"X-City": {value}}, map[string]string{"city": value}
		for _, r := range []*session.Request{inHeader, inCookie} {
			if _, err := find(t, s, r); err == nil || errors.Is(err, session.ErrUnknown) || !strings.Contains(err.Error(), "ity") {
				t.Errorf("forwarded value %q: expected an error that names it; found %v", value, err)
			}
		}
	}
	tossed := cookie("abc")
	tossed.Cookies = map[string]string{"city": "a; session=b"}
	if _, err := find(t, s, tossed); err == nil || asked > 0 {
		t.Errorf("a cookie in a cookie: %v, asked %d times", err, asked)
	}
}

// Whatever the body says, the status says whether there is a session.
func TestStatus(t *testing.T) {
	var status int
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, `{"user":"body-4711"}`)
	}))
	defer app.Close()
	s := open(t, fmt.Sprintf("url: %q", app.URL))
	for is, codes := range map[string][]int{
		"known": {200, 201, 202, 203, 299}, "unknown": {401, 403, 404},
		"cannot tell": {300, 301, 302, 303, 304, 307, 308, 400, 402, 405, 407, 410, 429, 500, 502, 503, 504},
	} {
		for _, status = range codes {
			got, err := find(t, s, cookie(secret))
			want := map[string]bool{
				"known": got != nil && err == nil, "unknown": errors.Is(err, session.ErrUnknown), "cannot tell": err != nil && !errors.Is(err, session.ErrUnknown),
			}
			if !want[is] || (got == nil) == (err == nil) {
				t.Errorf("status %d: expected %q; found error %v", status, is, err)
			}
		}
	}
}

func TestFixedHost(t *testing.T) {
	s := config(t, "headers { Host: app.example, Accept: \"application/session+json\" }")
	got := sent(t, s, cookie("c"))
	if got.Host != "app.example" || got.Header.Get("Accept") != "application/session+json" || got.URL.Path != "/auth" {
		t.Errorf("the request has host %s and Accept %s, want app.example and the configured Accept", got.Host, got.Header.Get("Accept"))
	}
}

// What is sent by one request must not be seen in the next.
func TestFixedHeadersAreNotShared(t *testing.T) {
	s := config(t, "headers { X-From: nats }, forward { headers: [X-Id] }")
	for i := range 3 {
		r := cookie("c")
		r.Headers = map[string][]string{"X-Id": {fmt.Sprint(i)}}
		got := sent(t, s, r)
		if !slices.Equal(got.Header["X-Id"], []string{fmt.Sprint(i)}) || !slices.Equal(got.Header["X-From"], []string{"nats"}) {
			t.Errorf("the request has X-Id %v and X-From %v, want those of this request alone", got.Header["X-Id"], got.Header["X-From"])
		}
	}
}

func TestCredentialsOfAHeader(t *testing.T) {
	s := config(t, "header: X-Session")
	for value, want := range map[string]bool{
		"abc": true, "a b": true, " abc": false, "abc ": false, "\tabc": false, "a\nb": false, "a\rb": false, "a\x00b": false,
		"é": false, "a\x7f": false, "": false, strings.Repeat("x", DefaultMaxCredential): true, strings.Repeat("x", DefaultMaxCredential+1): false,
	} {
		if _, ok := s.Accepts(cookie(value)); ok != want {
			t.Errorf("Accepts(%.10q) = %t, want %t", value, ok, want)
		}
	}
}

// An empty cookie is sent, so it must have another key than an absent one.
func TestKeyTellsEmptyFromAbsent(t *testing.T) {
	s := config(t, "forward { cookies: [a, b] }")
	seen := map[string]bool{}
	for _, cookies := range []map[string]string{nil, {"a": ""}, {"b": ""}, {"a": "", "b": ""}, {"a": "0:"}, {"b": "0:"}} {
		r := cookie("c")
		r.Cookies = cookies
		key, _ := s.Accepts(r)
		if seen[key] {
			t.Errorf("%v has the key of another", cookies)
		}
		seen[key] = true
	}
}

func TestFaultsOfHeaders(t *testing.T) {
	for fields, want := range map[string]string{
		"forward {headers: [Connection]}":                         "cannot be forwarded",
		"forward {headers: [transfer-encoding]}":                  "cannot be forwarded",
		"forward {headers: [Content-Length]}":                     "cannot be forwarded",
		"forward {headers: [host]}":                               "cannot be forwarded",
		"forward {headers: [Accept-Encoding]}":                    "cannot be forwarded",
		"forward {headers: [x-api-key]}, headers {X-Api-Key: k1}": "headers has a fixed value",
		"forward {cookies: [session]}":                            "cannot be forwarded",
		"forward {cookies: [\"a;b\"]}":                            "cannot be forwarded",
		"headers {connection: close}":                             "because the HTTP client sets it",
		"headers {Content-Length: \"0\"}":                         "because the HTTP client sets it",
		"header: X-S, headers {Cookie: a}, forward {cookies: b}":  "because it carries the forwarded cookies",
		"header: Host":       "that can carry a credential",
		"header: Connection": "that can carry a credential",
		"method: HEAD":       "has no body",
	} {
		if err := sourcetest.Faults(t, Parse, "kind: http, url: \"http://x\"\n"+fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected the fault %q; found %v", fields, want, err)
		}
	}
	config(t, "method: HEAD, fields {user: X-User}")
	config(t, "header: X-S, forward {cookies: [session]}")
}
