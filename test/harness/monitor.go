package harness

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Get returns the body of a monitoring page, such as "/connz?auth=1".
func (s *Server) Get(t testing.TB, page string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + s.Monitor(t) + page)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Varz is the page /varz.
func (s *Server) Varz(t testing.TB) *natsserver.Varz { return decode[natsserver.Varz](t, s, "/varz") }

// ID returns the server's id in NATS.
func (s *Server) ID(t testing.TB) string {
	t.Helper()
	return s.Varz(t).ID
}

// Connz is the page /connz, with the given query ("auth=1").
func (s *Server) Connz(t testing.TB, query string) *natsserver.Connz {
	return decode[natsserver.Connz](t, s, "/connz?"+query)
}

// Leafz is the page /leafz.
func (s *Server) Leafz(t testing.TB) *natsserver.Leafz {
	return decode[natsserver.Leafz](t, s, "/leafz")
}

func decode[T any](t testing.TB, s *Server, page string) *T {
	t.Helper()
	v := new(T)
	if err := json.Unmarshal(s.Get(t, page), v); err != nil {
		t.Fatalf("the monitoring page %s is not the JSON that was expected: %v", page, err)
	}
	return v
}

// ResponseImports returns how many responses of imported services an account is still waiting for.
func (s *Server) ResponseImports(t testing.TB, account string) int {
	t.Helper()
	z := decode[natsserver.Accountz](t, s, "/accountz?acc="+account)
	return len(z.Account.Responses)
}
