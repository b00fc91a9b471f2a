package login

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errConflict says that an entry has another revision than the write expects.
var errConflict = errors.New("the entry has another revision")

// Error codes of the server for that, of a stream without replicas and of one with replicas. Older
// releases of the client, with which the tests of upstream are built, have no error for both.
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

// errCodeTooLarge is the server's error code for a message that is larger than its stream accepts.
const errCodeTooLarge jetstream.ErrorCode = 10054

// plain replaces errors whose text may contain a key. A key is no secret, because it is the hash of
// one, but it does not help a reader either.
func plain(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, jetstream.ErrKeyExists, jetstream.ErrKeyNotFound, jetstream.ErrNoStreamResponse,
		nats.ErrNoResponders,
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
