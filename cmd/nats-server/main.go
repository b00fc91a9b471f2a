// Command nats-server is NATS' server with Stamp in it: it takes the place of
// upstream's binary, with the same flags, configuration and exit codes.
package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/command"
	"github.com/nats-io/nats-server/v2/server"

	"stamp/server/hook"
	"stamp/server/release"
	"stamp/server/stdlog"
)

func main() {
	stdlog.Guard()
	// The parser takes part in reading the configuration, so it is installed first.
	hook.Install()
	command.Main(command.Overrides{
		Version:    printVersion,
		Configured: hook.Extend,
		Logging:    func(s *server.Server) { s.Noticef("Stamp %s", release.Version) },
	})
}

func printVersion() {
	fmt.Printf("nats-server: v%s\n", release.Version)
	os.Exit(0)
}
