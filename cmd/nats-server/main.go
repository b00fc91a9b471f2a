// Command nats-server is NATS' server with Stamp in it: it takes the place of
// upstream's binary, with the same flags, configuration and exit codes.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/usage"

	"stamp/server/hook"
	"stamp/server/release"
)

func main() {
	const exe = "nats-server"
	hook.Install()

	fs := flag.NewFlagSet(exe, flag.ExitOnError)
	fs.Usage = func() {
		fmt.Printf("%s\n", usage.Text)
		os.Exit(0)
	}
	opts, err := server.ConfigureOptions(fs, os.Args[1:], printVersion, fs.Usage, server.PrintTLSHelpAndDie)
	if err != nil {
		server.PrintAndDie(fmt.Sprintf("%s: %s", exe, err))
	} else if opts.CheckConfig {
		fmt.Fprintf(os.Stderr, "%s: configuration file %s is valid (%s)\n", exe, opts.ConfigFile, opts.ConfigDigest())
		os.Exit(0)
	}

	// Passwords in arguments must not be shown by expvar.
	server.RedactArgs(os.Args)

	hook.Extend(opts)
	s, err := server.NewServer(opts)
	if err != nil {
		server.PrintAndDie(fmt.Sprintf("%s: %s", exe, err))
	}
	s.ConfigureLogger()
	s.Noticef("Stamp %s", release.Version)
	if err := server.Run(s); err != nil {
		server.PrintAndDie(err.Error())
	}
	s.WaitForShutdown()
}

func printVersion() {
	fmt.Printf("nats-server: v%s\n", release.Version)
	os.Exit(0)
}
