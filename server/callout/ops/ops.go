// Package ops is what an operator sees of a running handler: an HTTP endpoint with
// metrics, liveness and readiness, and structured logs.
//
// The endpoint has no authentication, so nothing that it answers is secret: names of
// the configuration, counts, and reasons that errors give, which hold no credential by
// the rules of their packages. It belongs on an address that only operators reach.
package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/klauspost/compress/gzhttp"

	"stamp/server/release"
)

// Limits of the endpoint. Its requests are small and have no body.
const (
	readTimeout = 5 * time.Second
	// readyTimeout is how long readiness may take to find out.
	readyTimeout = 10 * time.Second
	writeTimeout = readyTimeout + 20*time.Second
	idleTimeout  = 2 * time.Minute
	maxHeader    = 16 << 10 // bytes
)

// Options are what the endpoint shows.
type Options struct {
	Metrics *metrics.Set
	// Ready tells whether the handler works: nil, or why it does not. The error is
	// shown to whoever asks.
	Ready func(context.Context) error
	Log   *slog.Logger
}

// Handler answers these paths:
//
//	/metrics  metrics of the handler, the process and Go's runtime, in Prometheus' text format
//	/healthz  200 while the process runs
//	/readyz   200 when Ready says so, else 503 with the reason
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		header(w, "text/plain; version=0.0.4; charset=utf-8")
		writeBuild(w)
		o.Metrics.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		header(w, "text/plain; charset=utf-8")
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		header(w, "text/plain; charset=utf-8")
		if err := o.Ready(ctx); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "not ready: %v\n", err)
			return
		}
		io.WriteString(w, "ready\n")
	})
	return gzhttp.GzipHandler(mux)
}

func header(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

func writeBuild(w io.Writer) {
	metrics.WriteGaugeUint64(w, fmt.Sprintf("stamp_callout_build_info{version=%q}", release.Version), 1)
}

// Server is a running endpoint.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *slog.Logger
	done     sync.WaitGroup
}

// Listen begins to answer on a TCP address, such as "127.0.0.1:8223".
func Listen(address string, o Options) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("http endpoint: %w", err)
	}
	s := &Server{listener: listener, log: o.Log, http: &http.Server{
		Handler:           Handler(o),
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}}
	s.done.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("http endpoint", "error", err)
		}
	})
	return s, nil
}

// Address is where the endpoint listens, with the port that it got.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close stops listening, and waits for the requests that are under way until
// ctx ends; those are cut off then.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("http endpoint: %w", err), s.http.Close())
	}
	s.done.Wait()
	return err
}
