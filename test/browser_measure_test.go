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
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// TestBrowserMeasure prints how soon pages have their first answer. scripts/bench-browser runs it:
// it proves nothing, and so is no part of the tests. STAMP_MEASURE is the number of rounds,
// STAMP_OTHER_PACKAGES a list of folders with stamp.js and stamp.worker.js of other releases, as PATH is one, and
// STAMP_REST_SECURE a folder with rest-secure.js and QOper8.js, to measure these beside.
func TestBrowserMeasure(t *testing.T) {
	rounds := os.Getenv("STAMP_MEASURE")
	if rounds == "" {
		t.Skip("scripts/bench-browser runs it")
	}
	fmt.Println("| browser | way | first answer, ms | later answer, ms | first: CPU, ms | later: CPU, ms |\n|---|---|---|---|---|---|")
	for _, kind := range []string{"chrome", "firefox"} {
		asked := measured{Kind: kind, File: browserFile(t, kind), Rounds: must(strconv.Atoi(rounds)), RestSecure: os.Getenv("STAMP_REST_SECURE") != "", Others: map[string]string{}}
		asked.Origin = startBrowserSite(t, siteKind{scheme: "http", key: "required"}).origin
		for _, dist := range filepath.SplitList(os.Getenv("STAMP_OTHER_PACKAGES")) { // a site serves the worker's script of one package
			asked.Others[filepath.Base(dist)] = startBrowserSite(t, siteKind{scheme: "http", key: "required", dist: dist}).origin
		}
		node := exec.CommandContext(t.Context(), "node", "browser/measure.mjs", string(must(json.Marshal(asked))))
		node.Dir, node.Stderr = "js", os.Stderr
		out, err := node.Output()
		if err != nil {
			t.Fatal(err)
		}
		var times map[string]struct{ First, Later, FirstCPU, LaterCPU []float64 }
		if err := json.Unmarshal(out, &times); err != nil {
			t.Fatal(err)
		}
		for _, way := range slices.Sorted(maps.Keys(times)) {
			of := times[way]
			fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", kind, way, quartiles(of.First), quartiles(of.Later), quartiles(of.FirstCPU), quartiles(of.LaterCPU))
		}
	}
}

// measured is what browser/measure.mjs is asked for.
type measured struct {
	Origin     string            `json:"origin"`
	Kind       string            `json:"kind"` // of the browser
	File       string            `json:"file"` // the same
	Rounds     int               `json:"rounds"`
	RestSecure bool              `json:"restSecure"` // whether the site has rest-secure
	Others     map[string]string `json:"others"`     // names of other packages, and the origins of their sites
}

func quartiles(values []float64) string {
	if len(values) == 0 { // the system does not tell
		return "-"
	}
	slices.Sort(values)
	at := func(part float64) float64 { return values[int(part*float64(len(values)-1))] }
	return fmt.Sprintf("%.2f (%.2f to %.2f)", at(0.5), at(0.25), at(0.75))
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
