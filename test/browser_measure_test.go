package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// TestBrowserMeasure prints how soon pages have their first answer. scripts/bench-browser runs it:
// it proves nothing, and so is no part of the tests. STAMP_MEASURE is the number of rounds,
// STAMP_REST_SECURE a folder with rest-secure.js and QOper8.js, to measure rest-secure beside.
func TestBrowserMeasure(t *testing.T) {
	rounds := os.Getenv("STAMP_MEASURE")
	if rounds == "" {
		t.Skip("scripts/bench-browser runs it")
	}
	peer := "no"
	if os.Getenv("STAMP_REST_SECURE") != "" {
		peer = "yes"
	}
	fmt.Println("| browser | way | first answer, ms | later answer, ms |\n|---|---|---|---|")
	for _, kind := range []string{"chrome", "firefox"} {
		s := startBrowserSite(t, siteKind{scheme: "http", key: "required"})
		node := exec.CommandContext(t.Context(), "node", "browser/measure.mjs", s.origin, kind, browserFile(t, kind), rounds, peer)
		node.Dir, node.Stderr = "js", os.Stderr
		out, err := node.Output()
		if err != nil {
			t.Fatal(err)
		}
		var times map[string]struct{ First, Later []float64 }
		if err := json.Unmarshal(out, &times); err != nil {
			t.Fatal(err)
		}
		for _, way := range slices.Sorted(maps.Keys(times)) {
			fmt.Printf("| %s | %s | %s | %s |\n", kind, way, quartiles(times[way].First), quartiles(times[way].Later))
		}
	}
}

func quartiles(values []float64) string {
	slices.Sort(values)
	at := func(part float64) float64 { return values[int(part*float64(len(values)-1))] }
	return fmt.Sprintf("%.1f (%.1f to %.1f)", at(0.5), at(0.25), at(0.75))
}

// peer serves what rest-secure needs: its files, a page that gives a token for the session's cookie,
// and the same service over HTTP.
func (s *browserSite) peer(mux *http.ServeMux, nc *nats.Conn) {
	dir := os.Getenv("STAMP_REST_SECURE")
	if dir == "" {
		return
	}
	mux.Handle("GET /rest-secure/", http.StripPrefix("/rest-secure/", http.FileServer(http.Dir(must(filepath.Abs(dir))))))
	mux.HandleFunc("GET /rest/refresh", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("session"); err != nil {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Authorization", "token")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	})
	mux.HandleFunc("GET /rest/api/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		subject := strings.ReplaceAll(strings.TrimPrefix(r.URL.Path, "/rest/"), "/", ".")
		answer, err := nc.Request(subject, nil, harness.Timeout)
		if err != nil {
			http.Error(w, "{}", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer.Data)
	})
}
