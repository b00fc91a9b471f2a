package login

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session/kv"
)

// timing is what decides when a session is refreshed.
type timing struct {
	ends      int64 // of the access token, in Unix seconds; 0: it is not refreshed
	notBefore int64 // no refresh before this time, Unix seconds; 0: at any time
	failures  int   // of refreshes, in a row
}

func (e *entry) timing() timing {
	if e.RefreshToken == "" {
		return timing{}
	}
	return timing{e.accessEnds(), e.NotBefore, e.Failures}
}

// hintHeader is the header of an entry that says when its session is refreshed, so that a handler
// need not read and decrypt the entry to know it: the party, and unless the session is never
// refreshed, the fields of its timing. It is not encrypted, because its times say no more than when the
// entries of the session are written. It is not trusted either: before a session is refreshed, its
// entry decides. An entry without the header, or with that of another party, is read. The name does
// not begin with Stamp-, because servers may remove such headers.
const hintHeader = "Login-Refresh"

// hintNever stands for the timing of a session that is not refreshed.
const hintNever = "never"

func (t timing) hint(party string) string {
	if t.ends == 0 {
		return party + " " + hintNever
	}
	return fmt.Sprintf("%s %d %d %d", party, t.ends, t.notBefore, t.failures)
}

// parseHint returns the timing in a hint. ok is not set unless it is one of the party.
func parseHint(text, party string) (t timing, ok bool) {
	fields := strings.Split(text, " ")
	switch {
	case fields[0] != party:
		return t, false
	case len(fields) == 2:
		return t, fields[1] == hintNever
	case len(fields) != 4:
		return t, false
	}
	var errs [3]error
	t.ends, errs[0] = strconv.ParseInt(fields[1], 10, 64)
	t.notBefore, errs[1] = strconv.ParseInt(fields[2], 10, 64)
	t.failures, errs[2] = strconv.Atoi(fields[3])
	return t, errors.Join(errs[:]...) == nil && t.ends > 0 && t.notBefore >= 0 && t.failures >= 0
}

// party names provider, client and tenants in hints, so that the sessions of others are noticed.
func (c *Config) party() string {
	tenants := slices.Sorted(slices.Values(c.Tenants))
	text, _ := json.Marshal([]any{c.Issuer, c.ClientID, tenants}) // strings have no errors
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// sessionBucket is the bucket of the sessions.
type sessionBucket interface {
	jetstream.KeyValue
	// Write writes an entry with a hint if its revision is still the given one, and returns the new
	// revision. Revision 0 is that of an entry that does not exist.
	Write(ctx context.Context, key string, value []byte, hint string, revision uint64) (uint64, error)
}

// bucketWithHints writes entries with a header, which jetstream.KeyValue cannot do.
type bucketWithHints struct {
	jetstream.KeyValue
	js     jetstream.JetStream
	prefix string // of the subjects to which entries are published
}

// withHints returns a bucket at a place. The subjects are those to which jetstream.KeyValue publishes.
func withHints(js jetstream.JetStream, place kv.Place, bucket jetstream.KeyValue, mirrors *jetstream.StreamSource) *bucketWithHints {
	prefix := "$KV." + bucket.Bucket() + "."
	if mirrors != nil {
		prefix = "$KV." + strings.TrimPrefix(mirrors.Name, "KV_") + "."
	}
	switch {
	case mirrors != nil && mirrors.External != nil && mirrors.External.APIPrefix != "":
		prefix = mirrors.External.APIPrefix + "." + prefix
	case place.Domain != "":
		prefix = "$JS." + place.Domain + ".API." + prefix
	case place.APIPrefix != "":
		prefix = place.APIPrefix + "." + prefix
	}
	return &bucketWithHints{bucket, js, prefix}
}

func (b *bucketWithHints) Write(ctx context.Context, key string, value []byte, hint string, revision uint64) (uint64, error) {
	m := nats.NewMsg(b.prefix + key)
	m.Data = value
	m.Header.Set(hintHeader, hint)
	ack, err := b.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(revision))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}
