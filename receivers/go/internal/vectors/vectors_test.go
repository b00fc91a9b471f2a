package vectors

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the files")

// The files are what the generator makes.
func TestFiles(t *testing.T) {
	const dir = "../../.."
	for name, want := range Files() {
		file := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator makes: run go test ./internal/vectors -update in receivers/go (%v)", name, err)
		}
	}
}
