// Package test holds end-to-end tests against the built server. STAMP_SERVER
// names the binary; without it, one is built. STAMP_TEST_LOG=1 shows the servers'
// logs of tests that fail.
package test

import (
	"os"
	"testing"

	"stamp/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
