package callout

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
)

// Servers that accept and say nothing hold up neither a reload nor a signal, however many there are.
func TestSilentServersHoldUpNothing(t *testing.T) {
	given := errors.New("given up")
	login := map[string]func(context.Context, *Connect) error{
		"own": func(ctx context.Context, c *Connect) error {
			_, err := c.Dial(ctx, slog.New(slog.DiscardHandler), nil)
			return err
		},
		"system": func(ctx context.Context, c *Connect) error {
			_, err := (&Connect{System: c}).DialSystem(ctx, slog.New(slog.DiscardHandler), nil)
			return err
		},
		"account": func(ctx context.Context, c *Connect) error {
			_, err := newAccountConns(&Connect{accounts: map[string]*Connect{"A": c}}, slog.New(slog.DiscardHandler)).in(ctx, "A")
			return err
		},
	}
	for name, dial := range login {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, giveUp := context.WithCancelCause(t.Context())
			defer giveUp(nil)
			var asked atomic.Int32
			c := &Connect{User: "u"}
			for range 5 {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
				go func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						defer conn.Close()
						asked.Add(1)
						giveUp(given)
					}
				}()
				c.URLs = append(c.URLs, "nats://"+l.Addr().String())
			}
			if err := dial(ctx, c); !errors.Is(err, given) {
				t.Errorf("%v", err)
			}
			if n := asked.Load(); n > 1 {
				t.Errorf("%d servers were asked after it was given up", n-1)
			}
		})
	}
}
