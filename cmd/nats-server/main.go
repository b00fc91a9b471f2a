// Command nats-server is nats-server with Stamp. It replaces upstream's binary: flags, exit
// codes and configuration are the same, and the configuration may also contain the blocks
// headers and callout.
package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/command"
	"github.com/nats-io/nats-server/v2/server"

	"stamp/internal/release"
	"stamp/internal/stdlog"
	"stamp/server/hook"
)

func main() {
	stdlog.Guard()
	// First, because command.Main reads the configuration.
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
