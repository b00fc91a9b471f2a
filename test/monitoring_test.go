package test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"stamp/test/harness"
)

// monitoring is the folder of what operators load into Prometheus and Grafana.
var monitoring = filepath.Join("..", "deploy", "monitoring")

// TestAlertRules runs promtool on the alert rules and on their own tests.
func TestAlertRules(t *testing.T) {
	promtool := harness.Tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "config", "--syntax-only", "prometheus.yml"},
		{"check", "rules", "stamp-rules.yml"},
		{"test", "rules", "stamp-rules_test.yml"},
	} {
		command := exec.Command(promtool, args...)
		command.Dir = monitoring
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s failed: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	// Each rule fires in the tests.
	rules, tests := readMonitoring(t, "stamp-rules.yml"), readMonitoring(t, "stamp-rules_test.yml")
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		if !strings.Contains(tests, fmt.Sprintf("alertname=%q", m[1])) {
			t.Errorf("no test makes the alert %s fire", m[1])
		}
	}
}

// TestDashboard asks a Prometheus that scrapes two servers and a handler for each query of the
// dashboard, and for each metric of the alert rules.
func TestDashboard(t *testing.T) {
	s := startMonitored(t)
	p := startPrometheus(t, s)
	for _, query := range append(dashboardQueries(t), ruleMetrics(t)...) {
		harness.Eventually(t, "Prometheus answers "+query, func() bool {
			s.traffic(t)
			return p.hasNumber(t, query)
		})
	}
	// A number can be 0: this one shows that proofs are counted.
	harness.Eventually(t, "Prometheus has counted a signature", func() bool {
		s.traffic(t)
		return p.hasNumber(t, "stamp_server_signed_messages_total > 0")
	})
	text := readMonitoring(t, "stamp-dashboard.json")
	for _, name := range s.metrics(t) {
		if !strings.Contains(text, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// monitored is two servers with metrics, one of them with the handler inside, and a nats-callout.
type monitored struct {
	beside, inside *harness.Server
	servers        []string // addresses of metrics
	handler        string
}

func startMonitored(t *testing.T) *monitored {
	t.Helper()
	hash := must(bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost))
	key := filepath.Join(t.TempDir(), "login.key")
	if err := os.WriteFile(key, []byte("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, proofs := proofKeys(t)
	metrics := fmt.Sprintf(`headers { metrics: "127.0.0.1:0", protected: [X-Team], proof { key_file: %q, receivers: {"*": %q}, sign: [t] } }
		`, proofs, keys.Receiver)
	m := &monitored{}
	// Nobody logs in, so there need not be a provider.
	m.inside = harness.Start(t, metrics+fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts { APP { jetstream: enabled, users: [{user: sub, password: sub}] } }
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: session, allowed_origins: ["http://app.test"] }
		callout {
			sessions: [
				{kind: users, users: [{user: alice, password: %q}]}
				{kind: login, listen: %q, public_url: "http://localhost/auth", issuer: "http://127.0.0.1:1", client_id: web, client_secret: secret
				 bucket: logins, account: APP, key_file: %q, cookie_name: session}
			]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]
		}`, t.TempDir(), hash, harness.FreeAddr(t), key))
	issuer := harness.NewAccountKey(t)
	m.beside = harness.Start(t, metrics+fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
	h := harness.StartCallout(t, handlerConf(t, m.beside, "user: auth, password: auth", "issuer: "+harness.Seed(t, issuer), "APP"))
	m.handler = endpoint.FindStringSubmatch(h.WaitLog(t, endpoint.String()))[1]
	for _, s := range []*harness.Server{m.inside, m.beside} {
		m.servers = append(m.servers, strings.TrimPrefix(shownAt(t, s.WaitLog(t, "Server shows metrics on ")), "http://"))
	}
	return m
}

// metrics returns the names of Stamp's own metrics at all addresses.
func (m *monitored) metrics(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, address := range append(slices.Clone(m.servers), m.handler) {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`(?m)^(stamp_\w+?)(?:_bucket|_sum|_count)?[{ ]`).FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// traffic lets a client in, whose message is stamped, and refuses another one.
func (m *monitored) traffic(t *testing.T) {
	t.Helper()
	for _, s := range []*harness.Server{m.inside, m.beside} {
		alice := harness.Client(t, s, harness.Password("alice", "open"))
		alice.Sub("t", "1")
		alice.Hpub("t", block("X-Team: forged"), "")
		alice.Msg()
		alice.Close()
		expectRefused(t, s, harness.Password("eve", "open"))
	}
}

// prometheus is a running Prometheus.
type prometheus struct{ url string }

// startPrometheus runs Prometheus with the configuration of deploy/monitoring, except for its
// addresses and how often it scrapes.
func startPrometheus(t *testing.T, m *monitored) *prometheus {
	t.Helper()
	binary := harness.Tool(t, "prometheus")
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	text := readMonitoring(t, "prometheus.yml")
	for old, with := range map[string]string{
		"scrape_interval: 15s":                                 "scrape_interval: 1s",
		`"10.0.0.11:7777", "10.0.0.12:7777", "10.0.0.13:7777"`: `"` + strings.Join(m.servers, `", "`) + `"`,
		`"10.0.0.21:8223", "10.0.0.22:8223"`:                   strconv.Quote(m.handler),
	} {
		if strings.Count(text, old) != 1 {
			t.Fatalf("expected %q once in prometheus.yml", old)
		}
		text = strings.Replace(text, old, with, 1)
	}
	write("stamp-rules.yml", readMonitoring(t, "stamp-rules.yml"))
	address := harness.FreeAddr(t)
	process := harness.Run(t, binary, "--config.file="+write("prometheus.yml", text), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	process.WaitLog(t, "Server is ready to receive web requests")
	return &prometheus{"http://" + address}
}

// hasNumber reports whether a query has a result that is a number.
func (p *prometheus) hasNumber(t *testing.T, query string) bool {
	t.Helper()
	response, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("Prometheus did not answer the query %s: %v %s", query, err, answer.Error)
	}
	for _, series := range answer.Data.Result {
		text, _ := series.Value[1].(string)
		if number, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(number) {
			return true
		}
	}
	return false
}

// dashboardQueries returns the queries of all panels, with values for Grafana's variables.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readMonitoring(t, "stamp-dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []string
	variables := strings.NewReplacer("$instance", ".*", "$__rate_interval", "30s")
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 && panel.Type != "row" {
			t.Errorf("panel %q has no query", panel.Title)
		}
		for _, target := range panel.Targets {
			queries = append(queries, variables.Replace(target.Expr))
		}
	}
	return queries
}

// ruleMetrics returns the names of the metrics in the alert rules.
func ruleMetrics(t *testing.T) []string {
	t.Helper()
	names := regexp.MustCompile(`\bstamp_\w+`).FindAllString(readMonitoring(t, "stamp-rules.yml"), -1)
	slices.Sort(names)
	return slices.Compact(names)
}

func readMonitoring(t *testing.T, name string) string {
	t.Helper()
	return string(must(os.ReadFile(filepath.Join(monitoring, name))))
}
