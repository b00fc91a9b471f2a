package login

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lookEvery is how often it is looked whether the buckets are still those that are followed: a watch is not
// told that its bucket has gone, and waits in another one of that name for what the old one would have had next.
const lookEvery = time.Second

// lost is what goes with a bucket, in the order of store.buckets.
var lost = [2]string{
	"the sessions from before", "tickets that were issued before, and which logout tokens were carried out; what sessions are found by is written anew",
}

// missing is how many looks in a row have to find no bucket before one is made.
const missing = 2

// streamState tells one stream from another of its name.
type streamState struct {
	created time.Time
	last    uint64
	oldest  time.Time // when the first of its messages was stored; zero: there is none
}

func (s *source) stateOf(ctx context.Context, bucket string) (streamState, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return streamState{}, err
	}
	info := stream.CachedInfo()
	return streamState{info.Created, info.State.LastSeq, info.State.FirstTime}, nil
}

// lookAfter returns when ctx ends, or when a bucket has gone or is another one than it was; the store is
// opened anew then, which makes what is missing. A state of nothing is of a bucket that was not found.
func (s *source) lookAfter(ctx context.Context, store *store, was [2]streamState) {
	var gone [2]int
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i, name := range store.buckets() {
			now, err := s.stateOf(ctx, name)
			switch {
			case errors.Is(err, jetstream.ErrStreamNotFound):
				gone[i]++
			case err != nil:
				if was[i].created.IsZero() {
					return
				}
				continue
			case was[i].created.IsZero(): // it was missing, and is there
				return
			case !now.created.Equal(was[i].created), now.last < was[i].last:
				gone[i] = missing
			default:
				gone[i], was[i] = 0, now
			}
			if gone[i] == missing {
				s.logged.Warn("bucket", "login: a bucket has gone or was made anew; it is opened again", "source", s.cfg.Name, "bucket", name, "lost", lost[i])
				s.store.CompareAndSwap(store, nil)
				return
			}
		}
	}
}
