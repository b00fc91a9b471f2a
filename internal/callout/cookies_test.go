package callout

import (
	"strings"
	"testing"

	"stamp/internal/conf"
)

// A warning names each source whose cookie has another name than the server's.
func TestCookieWarnings(t *testing.T) {
	const login = `{kind: login, listen: "127.0.0.1:8090", bucket: b, public_url: "https://a.test", issuer: "https://p.test", client_id: c`
	const http = `{kind: http, url: "http://127.0.0.1:1/"`
	const kv = `{kind: kv, bucket: s}`
	for _, tt := range []struct{ sources, token, want string }{
		{login + "}", "__Host-session", ""},
		{login + "}", "session", `cookie "__Host-session" (cookie_name) to it, since the server does not take that: it takes "session" (websocket.token_cookie)`},
		{login + "}", "", "it takes none (websocket.token_cookie is missing)"},
		{login + `, cookie_name: "__Host-a"}`, "__Host-session", `"__Host-a" (cookie_name)`},
		{login + `, ticket: "30s"}`, "", ""},
		{login + `, ticket: "30s"}`, "sid", ""},
		{login + `, worker { app_origin: "https://a.test" }}`, "", ""},
		{login + "}, " + kv, "sid", `it takes "sid"`},
		{http + "}", "session", ""},
		{http + "}", "sid", `cookie "session" (cookie_name)`},
		{http + `, cookie_name: sid}`, "sid", ""},
		{http + "}", "", ""},
		{http + `, header: Authorization}`, "sid", ""},
		{http + `, cookie: app}`, "sid", ""},
		{http + "}, " + login + "}", "__Host-session", ""},
		{http + "}, " + kv, "sid", ""},
		{kv, "sid", ""},
	} {
		n, err := conf.ParseString("callout { sessions: [" + tt.sources + "], grants: [{account: APP, publish: [], subscribe: []}] }\n")
		if err != nil {
			t.Fatal(err)
		}
		var faults conf.Faults
		got := Parse(n.Get("callout"), &faults).CookieWarnings(tt.token)
		text := strings.Join(got, "\n")
		if !strings.Contains(text, tt.want) || (tt.want == "") != (text == "") {
			t.Errorf("%s with token_cookie %q: %q; want %q", tt.sources, tt.token, text, tt.want)
		}
	}
}
