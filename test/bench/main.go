package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	var bin binaries
	flag.StringVar(&bin.stock, "stock", "", "file of the stock nats-server")
	flag.StringVar(&bin.ours, "ours", "", "file of the stamping nats-server")
	flag.StringVar(&bin.callout, "callout", "", "file of nats-callout; without it callouts are left out")
	flag.StringVar(&bin.cli, "cli", "", "file of the nats command; without it nats bench is left out")
	quick := flag.Bool("quick", false, "few cases and short ones: does it still work")
	rounds := flag.Int("rounds", 0, "rounds over the messages, instead of the plan's")
	sizes := flag.String("sizes", "", "payload sizes in bytes, with commas between, instead of the plan's")
	subs := flag.String("subs", "", "numbers of subscribers, instead of the plan's")
	studyNames := flag.String("studies", "", "studies of the part studies, with commas between, instead of all")
	reloadConns := flag.Int("reload-connections", 0, "live connections in the part reload, instead of the plan's")
	only := flag.String("only", "", "parts of the run, with commas between: "+strings.Join(parts(), ", "))
	out := flag.String("write", "", "file to write the report to, instead of standard output")
	smallestURL := flag.String("smallest", "", "be the smallest callout handler, on that server")
	flag.Parse()
	if *smallestURL != "" {
		return serveSmallest(*smallestURL)
	}
	if bin.stock == "" || bin.ours == "" || flag.NArg() > 0 {
		return fmt.Errorf("wrong usage\nhint: scripts/bench --help")
	}
	p := newPlan(*quick)
	if *rounds > 0 {
		p.rounds, p.studyRounds = *rounds, *rounds
	}
	if *reloadConns > 0 {
		p.reloadConns = *reloadConns
	}
	if err := p.choose(*sizes, *subs); err != nil {
		return err
	}
	if err := p.chooseStudies(*studyNames); err != nil {
		return err
	}
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	for _, part := range p.only {
		if !slices.Contains(parts(), part) {
			return fmt.Errorf("there is no part %q\nhint: the parts are %s", part, strings.Join(parts(), ", "))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	res, err := newRunner(bin, p, os.Stderr).run(ctx)
	if err != nil {
		return err
	}
	text := report(res, thisMachine())
	if *out == "" {
		_, err = fmt.Print(text)
		return err
	}
	return os.WriteFile(*out, []byte(text), 0o644)
}
