package ops_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"stamp/internal/callout/ops"
)

// listen starts an endpoint on a free port and returns its URL.
func listen(t *testing.T, o ops.Options) (*ops.Server, string) {
	t.Helper()
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	if o.CheckReady == nil {
		o.CheckReady = func(context.Context) error { return nil }
	}
	o.BuildInfo = "stamp_callout_build_info"
	o.Log = slog.New(slog.DiscardHandler)
	s, err := ops.Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s, "http://" + s.Address()
}

// ask makes a request that does not accept compression by itself.
func ask(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestPaths(t *testing.T) {
	set := metrics.NewSet()
	set.NewCounter(`stamp_callout_answers_total{result="granted"}`).Add(3)
	_, url := listen(t, ops.Options{Metrics: set})
	for _, c := range []struct {
		method, path string
		status       int
		body         []string
	}{
		{"GET", "/healthz", 200, []string{"ok\n"}},
		{"HEAD", "/healthz", 200, nil},
		{"GET", "/readyz", 200, []string{"ready\n"}},
		{"GET", "/metrics", 200, []string{
			"stamp_callout_answers_total{result=\"granted\"} 3\n", `stamp_callout_build_info{version="2.`, "\ngo_goroutines ", "\nprocess_",
		}},
		{"POST", "/readyz", 405, nil},
		{"POST", "/metrics", 405, nil},
		{"GET", "/", 404, nil},
		{"GET", "/debug/pprof/", 404, nil},
	} {
		response, body := ask(t, c.method, url+c.path)
		if response.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, response.StatusCode, c.status)
		}
		for _, part := range c.body {
			if !strings.Contains(body, part) {
				t.Errorf("%s %s: body %q lacks %q", c.method, c.path, body, part)
			}
		}
		if cache := response.Header.Get("Cache-Control"); c.status == 200 && cache != "no-store" {
			t.Errorf("%s %s: Cache-Control %q, want no-store", c.method, c.path, cache)
		}
	}
}

func TestNotReady(t *testing.T) {
	reason := errors.New("no callout went through")
	_, url := listen(t, ops.Options{CheckReady: func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the readiness check has no deadline")
		}
		return reason
	}})
	if response, body := ask(t, "GET", url+"/readyz"); response.StatusCode != 503 || body != "not ready: no callout went through\n" {
		t.Errorf("expected status 503 and the reason; found status %d, body %q", response.StatusCode, body)
	}
	if response, _ := ask(t, "GET", url+"/healthz"); response.StatusCode != 200 {
		t.Errorf("/healthz has status %d while the handler is not ready, want 200", response.StatusCode)
	}
}

func TestCompression(t *testing.T) {
	_, url := listen(t, ops.Options{})
	response, body := ask(t, "GET", url+"/metrics", "Accept-Encoding", "gzip")
	if got := response.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("expected Content-Encoding gzip; found %q", got)
	}
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(plain, []byte("go_goroutines")) {
		t.Errorf("the compressed page cannot be read, or lacks go_goroutines: error %v, %d bytes", err, len(plain))
	}
}

// Close waits for a request that is under way, and accepts no new one.
func TestClose(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	s, url := listen(t, ops.Options{CheckReady: func(context.Context) error {
		close(asked)
		<-goOn
		return nil
	}})
	answer := make(chan string)
	go func() {
		_, body := ask(t, "GET", url+"/readyz")
		answer <- body
	}()
	<-asked
	closed := make(chan error)
	go func() { closed <- s.Close(context.Background()) }()
	for { // until it no longer listens
		nc, err := net.Dial("tcp", s.Address())
		if err != nil {
			break
		}
		nc.Close()
	}
	close(goOn)
	if body := <-answer; body != "ready\n" {
		t.Errorf("the request that was under way got %q", body)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// Close does not wait longer than its context.
func TestCloseInTime(t *testing.T) {
	asked, stuck := make(chan struct{}), make(chan struct{})
	s, url := listen(t, ops.Options{CheckReady: func(context.Context) error {
		close(asked)
		<-stuck
		return nil
	}})
	go http.Get(url + "/readyz")
	<-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("expected Close to end with its context; found error %v", err)
	}
	close(stuck)
}

func TestListenFault(t *testing.T) {
	_, url := listen(t, ops.Options{})
	_, err := ops.Listen(strings.TrimPrefix(url, "http://"), ops.Options{Log: slog.Default(), Metrics: metrics.NewSet()})
	if err == nil || !strings.HasPrefix(err.Error(), "http endpoint: ") {
		t.Errorf("expected an error of the http endpoint, whose address is in use; found %v", err)
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := ops.Logger(&out, "json", "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not this")
	log.Warn("refused", "client", 7)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "refused" || line["client"] != 7.0 {
		t.Errorf("expected one line of JSON, the warning; found error %v in %s", err, out.String())
	}
	out.Reset()
	if log, err = ops.Logger(&out, "text", "debug"); err != nil {
		t.Fatal(err)
	}
	if log.Debug("granted"); !strings.Contains(out.String(), "level=DEBUG msg=granted") {
		t.Errorf("expected the debug line as text; found %q", out.String())
	}
	for _, wrong := range [][2]string{{"xml", "info"}, {"text", "loud"}, {"", ""}} {
		if _, err := ops.Logger(&out, wrong[0], wrong[1]); err == nil {
			t.Errorf("format %q and level %q are taken", wrong[0], wrong[1])
		}
	}
}
