package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/server/hook"
	"stamp/test/harness"
)

const metricsConf = `
	headers { metrics: %q, protected: [Session] }
	accounts { APP { users: [ {user: pub, password: pub, headers: {Session: "top-secret"}}, {user: forger, password: forger} ] } }`

// TestServerMetrics compares the server's metrics with varz, counter by counter.
func TestServerMetrics(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(metricsConf, "127.0.0.1:0"))
	url := shownAt(t, s.WaitLog(t, "shows metrics on "))
	publisher, forger := s.Connect(t, userInfo("pub")), s.Connect(t, userInfo("forger"))
	sub := must(publisher.SubscribeSync("m"))
	for _, nc := range []*nats.Conn{publisher, forger} {
		m := nats.NewMsg("m")
		m.Header.Set("Session", "forged")
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := sub.NextMsg(harness.Timeout); err != nil {
			t.Fatal(err)
		}
	}
	text := scraped(t, url)
	shown := reflect.ValueOf(stampedVarz(t, s))
	for i := range shown.NumField() {
		if shown.Field(i).Kind() != reflect.Uint64 {
			continue
		}
		name, _, _ := strings.Cut(shown.Type().Field(i).Tag.Get("json"), ",")
		line := fmt.Sprintf("\nstamp_server_%s_total %d\n", name, shown.Field(i).Uint())
		if !strings.Contains(text, line) {
			t.Errorf("the metrics lack the line %q", line)
		}
	}
	for _, want := range []string{`stamp_server_build_info{version="2.`, "\nstamp_server_stamped_messages_total 1\n", "\nstamp_server_stripped_lines_total 2\n", "\ngo_goroutines "} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	for _, secret := range []string{"top-secret", "forged", "forger", "stamp_callout_build_info"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics show %q", secret)
		}
	}
	// The endpoint does not serve the paths of the monitoring port, nor the monitoring port the metrics.
	for _, path := range []string{url + "/varz", url + "/readyz", url + "/debug/pprof/", "http://" + s.Monitor(t) + "/metrics"} {
		if status := statusOf(t, path); status != http.StatusNotFound {
			t.Errorf("expected status 404 from %s; found %d", path, status)
		}
	}
}

// TestServerMetricsReload moves, closes and opens the endpoint by reloads.
func TestServerMetricsReload(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(metricsConf, "127.0.0.1:0"))
	first := shownAt(t, s.WaitLog(t, "shows metrics on "))
	second := "http://" + harness.FreeAddr(t)
	mark := s.Mark()
	s.Reload(t, fmt.Sprintf(metricsConf, strings.TrimPrefix(second, "http://")))
	if at := shownAt(t, mark.WaitLog(t, "shows metrics on ")); at != second {
		t.Errorf("the endpoint moved to %s, want %s", at, second)
	}
	scraped(t, second)
	harness.Eventually(t, "the first address is closed", func() bool { return !isOpen(first) })

	// The new address is taken, so the endpoint stays at the old one.
	mark = s.Mark()
	s.Reload(t, fmt.Sprintf(metricsConf, s.Monitor(t)))
	mark.WaitLog(t, `\[ERR\] Server: http endpoint: .*metrics are still shown on `+second)
	scraped(t, second)

	// The same port on all interfaces.
	_, port, err := net.SplitHostPort(strings.TrimPrefix(second, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0.0.0.0:" + port, "127.0.0.1:" + port} {
		mark = s.Mark()
		s.Reload(t, fmt.Sprintf(metricsConf, address))
		mark.WaitLog(t, "shows metrics on ")
		scraped(t, second)
	}

	s.Reload(t, "")
	harness.Eventually(t, "the second address is closed", func() bool { return !isOpen(second) })
	s.Reload(t, fmt.Sprintf(metricsConf, strings.TrimPrefix(second, "http://")))
	harness.Eventually(t, "the endpoint is open again", func() bool { return isOpen(second) })
}

// TestServerMetricsAddress lists what -t says of addresses.
func TestServerMetricsAddress(t *testing.T) {
	for conf, want := range map[string]string{
		`headers { metrics: "127.0.0.1:7777" }`:                                "",
		`headers { metrics: "7777" }`:                                          `metrics: expected an address such as "127.0.0.1:7777"; found "7777"`,
		`headers { metrics: 7777 }`:                                            "metrics",
		`headers { metrics: "127.0.0.1:7777" }, http: 7777`:                    `headers.metrics "127.0.0.1:7777" is the address of the server's http too`,
		`headers { metrics: ":7777" }, websocket { port: 7777, no_tls: true }`: `headers.metrics ":7777" is the address of the server's websocket.listen too`,
		`headers { metrics: "127.0.0.1:7777" }, callout { http: "127.0.0.1:7777", sessions: [{kind: anonymous}], grants: [{account: "$G", publish: [], subscribe: []}] }`: `http "127.0.0.1:7777" is the address of the server's headers.metrics too`,
	} {
		p := harness.Launch(t, conf, "-t")
		if code := p.Exit(t); (code == 0) != (want == "") || !strings.Contains(p.Text(), want) {
			t.Errorf("%s: expected %q from -t; found exit code %d:\n%s", conf, want, code, p.Text())
		}
	}
}

// A flag takes the place of the port in the file, for -t as at the start.
func TestServerMetricsAddressBesideFlags(t *testing.T) {
	const metrics = `headers { metrics: "127.0.0.1:7777" }` + "\n"
	for _, tt := range []struct {
		conf string
		args []string
		ok   bool
	}{
		{metrics + "http: 7778", []string{"-m", "7777"}, false},
		{metrics + "http: 7777", []string{"-m", "7778"}, true},
		{metrics + "port: 7777", []string{"-p", "7778"}, true},
		{metrics + "port: 7778", []string{"-p", "7777"}, false},
		{metrics + `listen: "127.0.0.1:7777"`, []string{"-a", "127.0.0.2"}, true},
	} {
		p := harness.Launch(t, tt.conf, append(tt.args, "-t")...)
		if code := p.Exit(t); (code == 0) != tt.ok {
			t.Errorf("%s with %v: expected -t to accept it: %t; found exit code %d:\n%s", tt.conf, tt.args, tt.ok, code, p.Text())
		}
	}
}

// stampedVarz returns the object headers of varz.
func stampedVarz(t *testing.T, s *harness.Server) hook.Varz {
	t.Helper()
	var varz struct{ Headers hook.Varz }
	if err := json.Unmarshal(s.Get(t, "/varz"), &varz); err != nil {
		t.Fatal(err)
	}
	return varz.Headers
}

var shownAddress = regexp.MustCompile(`http://[^ "]+`)

// shownAt returns the URL that a line of a log says.
func shownAt(t *testing.T, line string) string {
	t.Helper()
	url := shownAddress.FindString(line)
	if url == "" {
		t.Fatalf("expected a URL in the line %q", line)
	}
	return strings.TrimSuffix(url, "/metrics")
}

// scraped returns the metrics of an endpoint.
func scraped(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("expected status 200 from %s; found %d, error %v", url, response.StatusCode, err)
	}
	return "\n" + string(body)
}

func isOpen(url string) bool {
	response, err := http.Get(url + "/healthz")
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return true
}

func statusOf(t *testing.T, url string) int {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}
