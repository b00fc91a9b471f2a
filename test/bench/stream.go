package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var jetStreamWay = way{dial: dialJetStream, message: message, delivered: delivered, cost: 4}

var requestStreamWay = way{dial: dialJetStream, message: message, delivered: delivered, cost: 6, replies: true}

// streamClient publishes to a stream that is made anew for each connection.
type streamClient struct {
	publisher
	nc     *nats.Conn
	stream jetstream.Stream
	sent   uint64 // messages
}

func dialJetStream(p *process, user string) (publisher, error) {
	nc, err := nats.Connect("nats://"+p.addr, nats.UserInfo(plainUser, password))
	if err != nil {
		return nil, err
	}
	c := &streamClient{nc: nc}
	if err = c.open(p, user); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *streamClient) open(p *process, user string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	js, err := jetstream.New(c.nc)
	if err != nil {
		return err
	}
	if err := js.DeleteStream(ctx, "bench"); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	c.stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "bench", Subjects: []string{subject}, Storage: jetstream.MemoryStorage, MaxMsgs: 1000,
	})
	if err != nil {
		return err
	}
	c.publisher, err = dialPlain(p, user)
	return err
}

// drain waits until the stream has the messages. It asks every millisecond, of tens that a measurement takes.
func (c *streamClient) drain(n int) error {
	if err := c.publisher.drain(n); err != nil {
		return err
	}
	c.sent += uint64(n)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for ; ; time.Sleep(time.Millisecond) {
		info, err := c.stream.Info(ctx)
		if err != nil {
			return fmt.Errorf("wait for %d messages in the stream: %w", c.sent, err)
		}
		if info.State.LastSeq >= c.sent {
			return nil
		}
	}
}

func (c *streamClient) Close() error {
	c.nc.Close()
	return c.publisher.Close()
}
