package login

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lookEvery is how often the source checks that its buckets are still the same. A watch does not
// notice that its bucket was deleted, and in a new bucket of that name it waits for the next
// sequence of the old one.
const lookEvery = time.Second

// lost says what is lost with a bucket, in the order of store.buckets.
var lost = [2]string{
	"the sessions from before", "tickets that were issued before, and which logout tokens were carried out; what sessions are found by is written anew",
}

// missing is how many checks in a row must find no bucket before it is created.
const missing = 2

// streamState tells a stream from another one of the same name.
type streamState struct {
	created time.Time
	last    uint64
	oldest  time.Time // when the first of its messages was stored; zero: it has none
}

// isOther reports whether a stream is another one than that which was in a state before, or was restored.
func (now streamState) isOther(before streamState) bool {
	return !now.created.Equal(before.created) || now.last < before.last
}

func (s *source) stateOf(ctx context.Context, bucket string) (streamState, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
	defer cancel()
	stream, err := s.js.Stream(ctx, streamOf(bucket))
	if err != nil {
		return streamState{}, err
	}
	info := stream.CachedInfo()
	return streamState{info.Created, info.State.LastSeq, info.State.FirstTime}, nil
}

// lookAfter waits until ctx ends, or until a bucket is gone or is another one than before. In that
// case the store will be opened anew, which creates what is missing. The state of a bucket that was
// missing before is zero.
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
			case was[i].created.IsZero(): // it was missing before
				s.noteReplaced(i)
				s.store.CompareAndSwap(store, nil)
				return
			case now.isOther(was[i]):
				gone[i] = missing
			default:
				gone[i], was[i] = 0, now
				if i == 0 {
					store.indexed.sessions.Store(&now)
				}
			}
			if gone[i] == missing {
				s.noteReplaced(i)
				s.logged.Warn("bucket", "login: a bucket has gone or was made anew; it is opened again", "source", s.cfg.Name, "bucket", name, "lost", lost[i])
				if at := time.Now(); i == 1 && err == nil && now.created.Equal(was[i].created) {
					s.restored.Store(&at)
				}
				s.store.CompareAndSwap(store, nil)
				return
			}
		}
	}
}

// noteReplaced notes that the bucket with a number in the order of store.buckets has gone or was made anew. If
// it is that of the sessions, it may have been restored with sessions whose names the index has no more.
func (s *source) noteReplaced(bucket int) {
	if bucket == 0 {
		s.replaced.Add(1)
	}
}
