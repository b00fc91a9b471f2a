package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vulnerability is one of a database as https://go.dev/doc/security/vuln/database describes it.
type vulnerability struct{ id, module, pkg, symbol, fixed string }

// vulnerabilities makes a database, which is read instead of the real one: that changes each day.
func vulnerabilities(t *testing.T, all ...vulnerability) (url string) {
	t.Helper()
	dir := t.TempDir()
	const at = "2026-11-01T00:00:00Z"
	write := func(name string, content any) {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, must(json.Marshal(content)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	modules, index := make(map[string][]object), []object{}
	for _, v := range all {
		modules[v.module] = append(modules[v.module], object{"id": v.id, "modified": at, "fixed": v.fixed})
		index = append(index, object{"id": v.id, "modified": at})
		write("ID/"+v.id+".json", object{
			"schema_version": "1.3.1", "id": v.id, "modified": at, "published": at, "summary": v.symbol, "details": v.symbol,
			"affected": []object{{
				"package":            object{"name": v.module, "ecosystem": "Go"},
				"ranges":             []object{{"type": "SEMVER", "events": []object{{"introduced": "0"}, {"fixed": v.fixed}}}},
				"ecosystem_specific": object{"imports": []object{{"path": v.pkg, "symbols": []string{v.symbol}}}},
			}},
		})
	}
	listed := []object{}
	for path, vulns := range modules {
		listed = append(listed, object{"path": path, "vulns": vulns})
	}
	write("index/db.json", object{"modified": at})
	write("index/modules.json", listed)
	write("index/vulns.json", index)
	return "file://" + dir
}

// vex runs scripts/vex, and returns the status of each vulnerability in the document that it writes.
func vex(t *testing.T, db string) (code int, said string, statuses map[string]string) {
	t.Helper()
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("there is no jq")
	}
	file := filepath.Join(t.TempDir(), "stamp.openvex.json")
	command := exec.Command(filepath.Join("..", "scripts", "vex"), "--db", db, "--author", "tests", file)
	var printed, faults strings.Builder
	command.Stdout, command.Stderr = &printed, &faults
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	code = command.ProcessState.ExitCode()
	text, err := os.ReadFile(file)
	if err != nil {
		return code, faults.String(), nil
	}
	var document struct {
		Author     string
		Statements []struct {
			Vulnerability struct{ Name string }
			Products      []struct {
				ID string `json:"@id"`
			}
			Status string
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	if document.Author != "tests" {
		t.Errorf("the author of the document is %q, want tests", document.Author)
	}
	statuses = make(map[string]string)
	for _, s := range document.Statements {
		statuses[s.Vulnerability.Name] = s.Status
		if !strings.HasPrefix(s.Products[0].ID, "pkg:generic/stamp@2.") || !strings.Contains(s.Products[0].ID, "%2Bstamp.") {
			t.Errorf("the product of %s is %s, want a release of stamp", s.Vulnerability.Name, s.Products[0].ID)
		}
	}
	return code, printed.String(), statuses
}

// TestVEX finds vulnerabilities of nats-server too, which a build with the patched server in a folder hides.
func TestVEX(t *testing.T) {
	const server = "github.com/nats-io/nats-server/v2"
	reached := vulnerability{"GO-2026-0001", server, server + "/server", "Server.Start", "2.999.0"}
	absent := vulnerability{"GO-2026-0002", "golang.org/x/crypto", "golang.org/x/crypto/ssh", "NewServerConn", "0.999.0"}
	fixed := vulnerability{"GO-2026-0003", server, server + "/server", "Server.Start", "2.14.0"}
	code, said, statuses := vex(t, vulnerabilities(t, reached, absent, fixed))
	if want := "map[GO-2026-0001:affected GO-2026-0002:not_affected]"; code != 3 || said != "GO-2026-0001\n" || fmt.Sprint(statuses) != want {
		t.Errorf("exit status %d, printed %q, found %v; want %s", code, said, statuses, want)
	}
	if code, said, statuses := vex(t, vulnerabilities(t, absent)); code != 0 || said != "" || len(statuses) != 1 {
		t.Errorf("without a vulnerability, expected exit status 0 and one statement; found status %d, output %q, statements %v", code, said, statuses)
	}
	if code, said, statuses := vex(t, "file:///nowhere"); code != 1 || statuses != nil || !strings.Contains(said, "vex: govulncheck failed") {
		t.Errorf("without a database, expected exit status 1 and the error of govulncheck; found status %d, output %q, statements %v", code, said, statuses)
	}
}
