// Command demo shows Stamp at work: a browser-like client that has nothing but a
// session cookie, and a service that receives trusted headers.
//
// Without a command it runs every part in one process, with the server as a
// child. With one it is a single part, for a stack of containers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	cancel()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case interrupted && !errors.Is(err, errNotKept):
		// An error after a ctrl-c comes from the ctrl-c, which ends the server too.
		os.Exit(130) // as a shell has it for SIGINT
	default:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

const usage = `usage: demo [-server FILE] [-once] [-browser DIR [-cookie]]
                                        everything, with that nats-server as a child; -browser: the built
                                        package, whose worker connects with tickets, or with the cookie
       demo config  -conf FILE -keys DIR -listen ADDR -websocket ADDR -origin URL... -store DIR
                                        write the server's configuration, and keys where there are none
       demo web     -listen ADDR -websocket-port PORT -nats URL -keys DIR
       demo service -nats URL -keys DIR
       demo client  -web URL -websocket URL -origin URL [-nats URL -keys DIR]
`

func run(ctx context.Context, args []string) error {
	name := ""
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		name, args = args[0], args[1:]
	}
	command, ok := map[string]func(context.Context, *flag.FlagSet, []string) error{
		"": runAll, "config": runConfig, "web": runWeb, "service": runService, "client": runClient,
	}[name]
	if !ok {
		return fmt.Errorf("unknown command %q\n%s", name, usage)
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	return command(ctx, flags, args)
}

func runAll(ctx context.Context, flags *flag.FlagSet, args []string) error {
	binary := flags.String("server", "bin/nats-server", "")
	once := flags.Bool("once", false, "")
	browser := flags.String("browser", "", "")
	cookie := flags.Bool("cookie", false, "")
	if err := parse(flags, args); err != nil {
		return err
	}
	return all(ctx, *binary, *browser, *cookie, *once, os.Stdout)
}

// parse accepts flags only.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q\n%s", flags.Arg(0), usage)
	}
	return nil
}
