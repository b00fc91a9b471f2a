package grant

import (
	"testing"

	"stamp/internal/callout/session"
)

// BenchmarkMatch judges a connection. Goal: a typical grant, of a condition, three
// templates and two headers, in less than 15 microseconds.
func BenchmarkMatch(b *testing.B) {
	for name, text := range map[string]string{
		"static": `grants: [{ account: APP, publish: "api.>", subscribe: "news.*" }]`,
		"typical": `grants: [
			{ name: admin, when: 'session.role == "admin"', account: APP, publish: ">", subscribe: ">" }
			{
				when: 'session.role in ["user", "editor"]', account: APP, user: "{{ session.user }}"
				publish: ["api.>"], subscribe: ["_INBOX.{{ session.user }}.>"]
				headers {Session: "{{ credential }}", X-User: "{{ session.user }}"}
			}
		]`,
		"expressions": `grants: [{
			when: 'session.level > 2 and request.type == "websocket" and "a" in session.roles', account: APP
			user: "{{ lower(session.user) }}", publish: ["room.{{ session.roles }}.>"], subscribe: []
			headers {Roles: "{{ filter(session.roles, # != 'b') }}", Agent: "{{ request.headers['User-Agent'] }}"}
		}]`,
	} {
		b.Run(name, func(b *testing.B) {
			g := mustParse(b, text)
			s, r := data(b, `{"role":"user","user":"alice","level":3,"roles":["a","b"]}`), cookie()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Match(s, r, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefuse is a connection that no grant matches.
func BenchmarkRefuse(b *testing.B) {
	g := mustParse(b, `grants: [{ when: 'session.role == "admin"', account: APP, publish: ">", subscribe: ">" }]`)
	s, r := &session.Session{Data: map[string]any{"role": "user"}}, cookie()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Match(s, r, now); err == nil {
			b.Fatal("expected no grant to match")
		}
	}
}
