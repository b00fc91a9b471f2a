package login

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// unwritable is a bucket that takes no session.
type unwritable struct {
	sessionBucket
	tries atomic.Int64
}

func (u *unwritable) Write(context.Context, string, []byte, string, uint64) (uint64, error) {
	u.tries.Add(1)
	return 0, jetstream.ErrNoStreamResponse
}

// If a source ends before it could store refreshed tokens, the session stays in the index, which the source that a reload
// starts uses too. Otherwise nobody in this process would refresh the session again.
func TestUnstoredSessionStaysInTheIndex(t *testing.T) {
	for _, when := range []string{"while it is tried for the first time", "while it is tried later"} {
		t.Run(when, func(t *testing.T) {
			s := startSite(t, newProvider(t), startServer(t), newKey(), "")
			b := newBrowser(t, s)
			b.logIn()
			opened, key, e, revision := b.stored()
			bucket := &unwritable{sessionBucket: opened.sessions}
			st := &store{cfg: opened.cfg, sessions: bucket, index: opened.index, indexed: opened.indexed}
			due := newDueIndex()
			d := refreshDue{key: key, ends: e.accessEnds()}
			done := make(chan struct{})
			if when == "while it is tried later" {
				next := retry{refreshDue: d, unstored: &unstored{jetstream.ErrNoStreamResponse, e, revision}, lease: &lease{name: "lease." + key}}
				go func() {
					defer close(done)
					if next := s.source.storeLater(st, next); next.wait > 0 {
						due.again(next.refreshDue, next.wait)
					}
				}()
			} else {
				if !s.source.pace.enter(t.Context()) {
					t.Fatal("the source got no turn to refresh")
				}
				go func() {
					defer close(done)
					s.source.turn(t.Context(), st, due, d)
				}()
			}
			eventually(t, "a try to store", func() bool { return bucket.tries.Load() > 0 })
			s.source.abandon()
			eventually(t, "the end of the tries", func() bool {
				select {
				case <-done:
					return true
				default:
					return false
				}
			})
			if due.length() != 1 {
				t.Error("the index has lost the session")
			}
			if _, ok := due.take(); ok {
				t.Error("the session is due though its lease may last")
			}
		})
	}
}
