package kv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Leader reads messages of a stream from its leader. A direct get, and a consumer with one replica, may be
// served by a replica that lags behind. nats.go reads from the leader only if direct get is off.
type Leader struct {
	nc      *nats.Conn
	subject string // of the API
}

// Leader returns the leader of a stream at this place.
func (p *Place) Leader(nc *nats.Conn, stream string) *Leader {
	prefix := cmp.Or(p.APIPrefix, "$JS.API")
	if p.Domain != "" {
		prefix = "$JS." + p.Domain + ".API"
	}
	return &Leader{nc, prefix + ".STREAM.MSG.GET." + stream}
}

// getRequest is a request to STREAM.MSG.GET.
type getRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
}

// getAnswer is the answer to it.
type getAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Header   []byte    `json:"hdrs"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	} `json:"message"`
}

// Last returns the last message with a subject. It returns jetstream.ErrMsgNotFound if there is none.
func (l *Leader) Last(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return l.get(ctx, getRequest{LastFor: subject})
}

// HasFrom reports whether the stream has a message with a sequence or a later one, whose subject matches
// filter.
func (l *Leader) HasFrom(ctx context.Context, sequence uint64, filter string) (bool, error) {
	_, err := l.get(ctx, getRequest{Sequence: sequence, NextFor: filter})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (l *Leader) get(ctx context.Context, q getRequest) (*jetstream.RawStreamMsg, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	m, err := l.nc.RequestWithContext(ctx, l.subject, body)
	if err != nil {
		return nil, err
	}
	var answer getAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, jetstream.ErrInvalidJetStreamResponse
	}
	if e := answer.Error; e != nil && e.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return nil, jetstream.ErrMsgNotFound
	} else if e != nil {
		return nil, e
	}
	if answer.Message == nil {
		return nil, jetstream.ErrInvalidJetStreamResponse
	}
	found := &jetstream.RawStreamMsg{Subject: answer.Message.Subject, Sequence: answer.Message.Sequence, Data: answer.Message.Data, Time: answer.Message.Time}
	if len(answer.Message.Header) > 0 {
		if found.Header, err = nats.DecodeHeadersMsg(answer.Message.Header); err != nil {
			return nil, fmt.Errorf("header: %w", jetstream.ErrInvalidJetStreamResponse)
		}
	}
	return found, nil
}
