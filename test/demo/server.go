package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// server is a nats-server as a process of its own.
type server struct {
	cmd  *exec.Cmd
	log  log
	done chan struct{} // closed when the process has ended
	err  error         // how it ended, once done is closed

	nats, websocket string // URLs
}

// startServer runs binary with a configuration in dir, which has the ports file
// written there, and returns when it listens.
func startServer(ctx context.Context, binary, configFile, dir string) (*server, error) {
	s := &server{done: make(chan struct{})}
	s.cmd = exec.Command(binary, "-c", configFile)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	if err := s.waitPorts(ctx, dir); err != nil {
		s.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", binary, err, s.log.String())
	}
	return s, nil
}

// waitPorts waits for the ports file, which the server writes when it listens
// everywhere.
func (s *server) waitPorts(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	file := filepath.Join(dir, fmt.Sprintf("%s_%d.ports", filepath.Base(s.cmd.Path), s.cmd.Process.Pid))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return fmt.Errorf("it ended: %w", s.end())
		case <-ctx.Done():
			return fmt.Errorf("wait for its ports file: %w", ctx.Err())
		case <-tick.C:
		}
		var ports struct{ Nats, Websocket []string }
		data, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(data, &ports) != nil { // not there, or half written
			continue
		}
		if len(ports.Nats) == 0 || len(ports.Websocket) == 0 {
			return errors.New("its ports file lacks a listener")
		}
		s.nats, s.websocket = ports.Nats[0], ports.Websocket[0]
		return nil
	}
}

func (s *server) end() error {
	if s.err == nil {
		return errors.New("exit status 0")
	}
	return s.err
}

// stop ends the process, and returns when it is gone.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// log keeps the end of what the server says, for when it fails.
type log struct {
	mu   sync.Mutex
	text []byte
}

// maxLog bytes are kept.
const maxLog = 4 << 10

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if cut := len(l.text) - maxLog; cut > 0 {
		l.text = append(l.text[:0], l.text[cut:]...)
	}
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.text))
}
