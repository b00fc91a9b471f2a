// Package ops shows an operator the state of a running callout handler or server: an
// HTTP endpoint with metrics, liveness and readiness, and structured logs.
//
// The endpoint has no authentication, so its answers contain no secrets: only names
// from the configuration, counts, and error texts, in which no package puts a
// credential. It should listen on an address that only operators can reach.
package ops

import (
	"context"
	"encoding/json"
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

	"stamp/internal/release"
)

// Limits of the endpoint. Its requests are small and have no body.
const (
	readTimeout  = 5 * time.Second
	readyTimeout = 10 * time.Second // for Options.CheckReady
	writeTimeout = readyTimeout + 20*time.Second
	idleTimeout  = 2 * time.Minute
	maxHeader    = 16 << 10 // bytes
)

// Options say what the endpoint shows.
type Options struct {
	Metrics *metrics.Set
	// BuildInfo is the name of the metric whose label is the version.
	BuildInfo string
	// CheckReady returns nil if the handler can answer callouts, or an error that says why
	// it cannot. The endpoint shows the error to anyone. If CheckReady is nil, there is no /readyz.
	CheckReady func(context.Context) error
	// Status returns what /statusz shows as JSON, to anyone. If it is nil, there is no /statusz.
	Status func(context.Context) any
	Log    *slog.Logger
}

// Handler serves these paths:
//
//	/metrics  Options.Metrics and those of the process and Go's runtime, in Prometheus' text format
//	/healthz  200 while the process runs
//	/readyz   200 if Options.CheckReady returns nil, else 503 with the error
//	/statusz  Options.Status, for the command status of nats-callout
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		setHeaders(w, "text/plain; version=0.0.4; charset=utf-8")
		metrics.WriteGaugeUint64(w, fmt.Sprintf("%s{version=%q}", o.BuildInfo, release.Version), 1)
		o.Metrics.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		setHeaders(w, "text/plain; charset=utf-8")
		io.WriteString(w, "ok\n")
	})
	if o.CheckReady != nil {
		mux.HandleFunc("GET /readyz", readyz(o))
	}
	if o.Status != nil {
		mux.HandleFunc("GET /statusz", statusz(o))
	}
	return gzhttp.GzipHandler(mux)
}

func statusz(o Options) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		status := o.Status(ctx)
		setHeaders(w, "application/json")
		_ = json.NewEncoder(w).Encode(status) // an error means that the reader is gone
	}
}

func readyz(o Options) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		setHeaders(w, "text/plain; charset=utf-8")
		if err := o.CheckReady(ctx); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "not ready: %v\n", err)
			return
		}
		io.WriteString(w, "ready\n")
	}
}

func setHeaders(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// Server is a running endpoint.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *slog.Logger
	done     sync.WaitGroup
}

// Listen starts the endpoint on a TCP address, such as "127.0.0.1:8223".
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

// Address returns the address that the endpoint listens on. If the port was
// configured as 0, it is the one that the system chose.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close stops listening and waits for requests in progress. When ctx ends, it closes
// their connections and returns an error.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("http endpoint: %w", err), s.http.Close())
	}
	s.done.Wait()
	return err
}
