package main

import (
	"errors"
	"fmt"
	"time"
)

// sample is one measurement, in nanoseconds per message.
type sample struct{ cpu, wall float64 }

// load is a publisher and its subscribers on one server.
type load struct {
	server *process
	way    way
	cell   cell
	arm    arm
	chunk  []byte
	pub    publisher
	subs   []*subscriber
}

// subscriber is a connection that counts what it gets.
type subscriber struct {
	*client
	buf  []byte
	want []byte // a message as it gets it
}

func openLoad(p *process, w way, c cell, a arm) (*load, error) {
	if a.way != nil {
		w = *a.way
	}
	l := &load{server: p, way: w, cell: c, arm: a}
	l.chunk = w.chunk(c.size, c.chunk(), a.sent)
	if err := l.open(); err != nil {
		l.close()
		return nil, fmt.Errorf("%s: %w", a.name, err)
	}
	return l, nil
}

func (l *load) open() error {
	users := l.arm.readers
	if len(users) == 0 {
		users = []string{plainUser}
	}
	for i := range l.cell.subs {
		user := users[i%len(users)]
		c, err := dial(l.server.addr, connectOptions{User: user, Pass: password}, nil)
		if err != nil {
			return err
		}
		s := &subscriber{client: c, buf: make([]byte, (256<<10)/max(1, l.cell.subs/10))}
		if l.way.delivered != nil {
			s.want = l.way.delivered(l.cell.size, l.arm.headers(user))
		}
		l.subs = append(l.subs, s)
		if err := c.subscribe(); err != nil {
			return err
		}
	}
	var err error
	if l.pub, err = l.way.dial(l.server, l.arm.user); err == nil && l.way.delivered == nil {
		err = l.learn()
	}
	return err
}

func (l *load) close() {
	for _, s := range l.subs {
		s.Close()
	}
	if l.pub != nil {
		l.pub.Close()
	}
}

// warmUp sends a quarter of n messages, in whole chunks, so that the connections
// grow their buffers, and looks at what arrives.
func (l *load) warmUp(n int) error {
	return l.send(max(1, n/4/l.cell.chunk())*l.cell.chunk(), true)
}

// send publishes n messages, and returns when they all have arrived.
func (l *load) send(n int, check bool) error {
	done := make(chan error, len(l.subs))
	for _, s := range l.subs {
		s.client.want += n * len(s.want)
		var k *checker
		if check {
			k = &checker{message: s.want}
		}
		go func() { done <- s.receive(s.buf, k) }()
	}
	var errs []error
	for sent := 0; sent < n && len(errs) == 0; sent += l.cell.chunk() {
		if _, err := l.pub.Write(l.chunk); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, l.pub.drain(n))
	for range l.subs {
		errs = append(errs, <-done)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s, %d bytes, %d subscribers: %w", l.arm.name, l.cell.size, l.cell.subs, err)
	}
	return nil
}

// measure sends n messages on a connection that has grown its buffers.
func measure(p *process, w way, c cell, a arm, n int) (sample, error) {
	l, err := openLoad(p, w, c, a)
	if err != nil {
		return sample{}, err
	}
	defer l.close()
	if err := l.warmUp(n); err != nil {
		return sample{}, err
	}
	before, err := p.settle()
	if err != nil {
		return sample{}, err
	}
	begin := time.Now()
	if err := l.send(n, false); err != nil {
		return sample{}, err
	}
	wall := time.Since(begin)
	after, err := p.settle()
	if err != nil {
		return sample{}, err
	}
	return sample{float64(after-before) / float64(n), float64(wall) / float64(n)}, nil
}

// measureAllocs is how many objects the server allocates for a message.
func measureAllocs(p *process, w way, c cell, a arm, n int) (float64, error) {
	l, err := openLoad(p, w, c, a)
	if err != nil {
		return 0, err
	}
	defer l.close()
	if err := l.warmUp(n); err != nil {
		return 0, err
	}
	var counts [3]uint64
	for i := range counts {
		if i == 2 {
			if err := l.send(n, false); err != nil {
				return 0, err
			}
		}
		if counts[i], err = p.mallocs(); err != nil {
			return 0, err
		}
	}
	// The first two readings show what a reading allocates itself.
	return (float64(counts[2]-counts[1]) - float64(counts[1]-counts[0])) / float64(n), nil
}
