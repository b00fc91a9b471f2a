package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"

	"github.com/nats-io/nats.go"
)

// The parts as processes of their own. Each waits for those that it needs.

func runConfig(_ context.Context, flags *flag.FlagSet, args []string) error {
	file := flags.String("conf", "nats.conf", "")
	dir := flags.String("keys", "keys", "")
	listen := flags.String("listen", "127.0.0.1:4222", "")
	websocket := flags.String("websocket", "127.0.0.1:8080", "")
	store := flags.String("store", "", "")
	var origins []string
	flags.Func("origin", "", func(s string) error {
		origins = append(origins, s)
		return nil
	})
	if err := parse(flags, args); err != nil {
		return err
	}
	if len(origins) == 0 {
		return fmt.Errorf("-origin is missing: which pages may connect\n%s", usage)
	}
	if *store == "" {
		return fmt.Errorf("-store is missing: where JetStream keeps sessions\n%s", usage)
	}
	k, err := keepKeys(*dir)
	if err != nil {
		return fmt.Errorf("keys in %s: %w", *dir, err)
	}
	return newConfiguration(k, *listen, *websocket, origins, "", *store).write(*file)
}

func runWeb(ctx context.Context, flags *flag.FlagSet, args []string) error {
	listen := flags.String("listen", "127.0.0.1:8000", "")
	port := flags.Int("websocket-port", 8080, "")
	return runConnected(ctx, flags, args, "web", func(nc *nats.Conn) error {
		l, err := net.Listen("tcp", *listen)
		if err != nil {
			return fmt.Errorf("listen for the page: %w", err)
		}
		var store *sessions
		err = retry(ctx, func() (err error) { // JetStream may come later than the server
			store, err = openSessions(ctx, nc)
			return err
		})
		if err != nil {
			return err
		}
		at, err := url.Parse(nc.ConnectedUrl())
		if err != nil {
			return fmt.Errorf("address of the websocket: %w", err)
		}
		w := &web{
			sessions: store, websocket: "http://" + net.JoinHostPort(at.Hostname(), strconv.Itoa(*port)),
			say: (&report{out: os.Stdout}).say,
		}
		return w.serve(ctx, l)
	})
}

func runService(ctx context.Context, flags *flag.FlagSet, args []string) error {
	return runConnected(ctx, flags, args, "service", func(nc *nats.Conn) error {
		return service(nc, (&report{out: os.Stdout}).say)
	})
}

// runConnected serves on a connection of the backend's user until ctx ends.
func runConnected(ctx context.Context, flags *flag.FlagSet, args []string, name string, serve func(*nats.Conn) error) error {
	server := flags.String("nats", nats.DefaultURL, "")
	dir := flags.String("keys", "keys", "")
	if err := parse(flags, args); err != nil {
		return err
	}
	nc, err := dial(ctx, *server, *dir, name)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := serve(nc); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// dial waits for the keys, which another part writes, and for the server.
func dial(ctx context.Context, server, dir, name string) (nc *nats.Conn, err error) {
	err = retry(ctx, func() error {
		k, err := loadKeys(dir)
		if err != nil {
			return err
		}
		nc, err = nats.Connect(server, asUser(k.backend), nats.Name(name), nats.MaxReconnects(-1))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect the %s to %s: %w", name, server, err)
	}
	return nc, nil
}

func runClient(ctx context.Context, flags *flag.FlagSet, args []string) error {
	c := &client{report: &report{out: os.Stdout}, remote: true}
	flags.StringVar(&c.web, "web", "http://127.0.0.1:8000", "")
	flags.StringVar(&c.websocket, "websocket", "ws://127.0.0.1:8080", "")
	flags.StringVar(&c.origin, "origin", "http://127.0.0.1:8000", "")
	server := flags.String("nats", "", "")
	dir := flags.String("keys", "keys", "")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := c.await(ctx); err != nil {
		return err
	}
	if err := c.run(ctx); err != nil {
		c.report.promise("the client gets to the end", err)
	}
	if *server != "" {
		nc, err := dial(ctx, *server, *dir, "backend")
		if err != nil {
			return err
		}
		defer nc.Close()
		c.unstamped(ctx, nc)
	}
	if !c.report.summary() {
		return errNotKept
	}
	return nil
}
