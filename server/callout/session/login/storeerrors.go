package login

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errConflict refuses a write because the entry has another revision than the write says.
var errConflict = errors.New("the entry has another revision")

// Codes of the server for that: of a stream without replicas, and of one with them. Older releases of the client, with
// whose tests this is built too, have no error for both.
const (
	errCodeLastSequence           jetstream.ErrorCode = 10071
	errCodeLastSequenceReplicated jetstream.ErrorCode = 10164
)

func isConflict(err error) bool {
	if errors.Is(err, errConflict) || errors.Is(err, jetstream.ErrKeyExists) {
		return true
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == errCodeLastSequence || api.ErrorCode == errCodeLastSequenceReplicated)
}

// errCodeTooLarge is the server's, of a message that is larger than its stream takes.
const errCodeTooLarge jetstream.ErrorCode = 10054

// plain drops the text of errors that may name a key: it is the hash of a secret, and so no
// secret, but says nothing to a reader either.
func plain(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, jetstream.ErrKeyExists, jetstream.ErrKeyNotFound, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	if isConflict(err) {
		return errConflict
	}
	var api *jetstream.APIError
	isAPI := errors.As(err, &api)
	if errors.Is(err, nats.ErrMaxPayload) || isAPI && api.ErrorCode == errCodeTooLarge {
		return errTooLarge
	}
	if isAPI {
		return fmt.Errorf("bucket: the server refuses it (code %d)", api.ErrorCode)
	}
	return errors.New("bucket: unexpected answer of the server")
}
