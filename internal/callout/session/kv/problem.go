package kv

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// problem is the error of a bucket that cannot be read. Its text says what to do.
type problem struct {
	text  string
	cause error
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.cause }

// LookupError returns why the bucket cannot be read, and what to do. It returns nil if the
// last attempt to open the bucket succeeded.
func (s *Source) LookupError() error {
	if !s.nc.IsConnected() {
		return s.failed(s.explain(nats.ErrDisconnected))
	}
	if p := s.problem.Load(); p != nil {
		return s.failed(p)
	}
	return nil
}

// explain returns the problem for an error of opening the bucket.
func (s *Source) explain(err error) *problem {
	p := &problem{cause: err}
	account := "the account of the handler"
	if s.cfg.Account != "" {
		account = fmt.Sprintf("account %q", s.cfg.Account)
	}
	info := s.api() + ".STREAM.INFO.KV_" + s.cfg.Bucket
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		p.text = account + ` has no JetStream: enable it there ("jetstream: enabled"), or name the account that has the bucket in "account"`
	case errors.Is(err, jetstream.ErrStreamNotFound):
		p.text = fmt.Sprintf("there is no such bucket in %s: make it (nats kv add %s), or correct \"bucket\" or \"account\"", account, s.cfg.Bucket)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		p.text = "no server answers requests to JetStream (" + info + `): enable JetStream on the servers ("jetstream"), name its "domain", or wait for the servers that have the bucket`
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		p.text = fmt.Sprintf("no answer to %s within %s: JetStream is not there or overloaded, or the user of the handler may not publish this or subscribe to its inbox", info, s.cfg.TryTime())
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		p.text = "the handler is not connected in " + account
	default:
		p.text = "bucket cannot be opened: " + err.Error()
	}
	return p
}

// api returns the prefix of the subjects of the JetStream API.
func (s *Source) api() string {
	switch {
	case s.cfg.Domain != "":
		return "$JS." + s.cfg.Domain + ".API"
	case s.cfg.APIPrefix != "":
		return s.cfg.APIPrefix
	}
	return "$JS.API"
}
