package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session/kv"
	"stamp/internal/callout/session/login"
)

type sessionList struct {
	bucket
	JSON bool `help:"one JSON object in a line for each session"`
}

// Run lists the sessions in the order in which they were written.
func (c *sessionList) Run(s *streams) error {
	ctx := context.Background()
	store, err := c.open(ctx, s)
	if err != nil {
		return err
	}
	defer store.nc.Close()
	return c.each(ctx, store, func(e jetstream.KeyValueEntry) error {
		if c.JSON {
			return json.NewEncoder(s.out).Encode(summary(e, store.ttl))
		}
		_, err := fmt.Fprintln(s.out, summary(e, store.ttl))
		return err
	})
}

// each calls do for each entry of the bucket.
func (b *bucket) each(ctx context.Context, store *store, do func(jetstream.KeyValueEntry) error, options ...jetstream.WatchOpt) error {
	watcher, err := store.WatchAll(ctx, append(options, jetstream.IgnoreDeletes())...)
	if err != nil {
		return b.failed(err)
	}
	defer watcher.Stop()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return b.failed(context.DeadlineExceeded)
			case entry == nil: // the end of the list
				return nil
			}
			if err := do(entry); err != nil {
				return err
			}
		case <-time.After(b.Timeout): // for the next entry
			return b.failed(context.DeadlineExceeded)
		}
	}
}

// outline is what is shown of a session without its values.
type outline struct {
	Key     string     `json:"key"`
	Written time.Time  `json:"written"`
	Ends    *time.Time `json:"ends,omitempty"` // as far as the entry and the bucket say
	Fields  []string   `json:"fields"`
	Sealed  bool       `json:"sealed,omitempty"` // encrypted by a login source
	Fault   string     `json:"fault,omitempty"`
}

// notObject is the fault of an entry that even --reveal does not show.
const notObject = "not a JSON object"

// summary returns what is shown of an entry. ttl is that of the bucket.
func summary(e jetstream.KeyValueEntry, ttl time.Duration) outline {
	o := outline{Key: kv.SessionKey(e.Key()), Written: e.Created().UTC().Truncate(time.Second)}
	if ttl > 0 {
		end := o.Written.Add(ttl)
		o.Ends = &end
	}
	var data map[string]any
	err := json.Unmarshal(e.Value(), &data)
	switch {
	case login.IsSealed(e.Value()):
		o.Sealed = true
		return o
	case err != nil || data == nil:
		o.Fault = notObject
		return o
	}
	o.Fields = slices.Sorted(maps.Keys(data))
	end, err := kv.Expires(data, endField)
	if err != nil {
		o.Fault = err.Error() // does not contain the value
	}
	if !end.IsZero() && (o.Ends == nil || end.Before(*o.Ends)) {
		end = end.UTC().Truncate(time.Second)
		o.Ends = &end
	}
	return o
}

func (o outline) String() string {
	end := "does not end"
	switch {
	case o.Sealed:
		return fmt.Sprintf("%s  written %s  sealed, of a login source%s", o.Key, o.Written.Format(time.RFC3339), o.latestEnd())
	case o.Fault != "":
		end = o.Fault
	case o.Ends != nil && o.Ends.Before(time.Now()):
		end = "ended " + o.Ends.Format(time.RFC3339)
	case o.Ends != nil:
		end = "ends " + o.Ends.Format(time.RFC3339)
	}
	return fmt.Sprintf("%s  written %s  %s  fields: %s", o.Key, o.Written.Format(time.RFC3339), end, names(o.Fields))
}

// latestEnd returns when the bucket removes a session, which ends before that.
func (o outline) latestEnd() string {
	if o.Ends == nil {
		return ""
	}
	return "; ends by " + o.Ends.Format(time.RFC3339)
}

// names joins names from a session or a JWT, and escapes what a terminal would interpret.
func names(list []string) string {
	out := make([]string, len(list))
	for i, name := range list {
		if out[i] = name; !printable(name) {
			out[i] = strconv.Quote(name)
		}
	}
	return strings.Join(out, ", ")
}

func printable(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// which is the flags that select sessions.
type which struct {
	Session []string `arg:"" optional:"" name:"key" help:"keys of sessions: 32 hexadecimal digits, as list and logs show them; not the cookie"`
	ID      source   `placeholder:"FROM" help:"id of the session (the cookie or token): -, @FILE or env:NAME"`
}

// check returns an error if the flags select no session. It is called before the connection to NATS is made.
func (c *which) check() error {
	if (len(c.Session) == 0) == (c.ID == "") {
		return usage(errors.New("name sessions by key (session list shows them), or one by --id"), "")
	}
	if !allKeys(c.Session) {
		// The argument is not repeated, because it may be an id.
		return usage(errors.New("a key of a session has 32 hexadecimal digits"), "--id takes the id of a session")
	}
	return nil
}

// entries returns the keys of the selected entries. It returns an error if one of them does not
// exist.
func (c *which) entries(ctx context.Context, b *bucket, store *store, s *streams) ([]string, error) {
	if c.ID != "" {
		id, err := s.read(c.ID, "--id")
		if err != nil {
			return nil, err
		}
		key, err := b.keyOf(id)
		return []string{key}, err
	}
	found := map[string]string{}
	err := b.each(ctx, store, func(e jetstream.KeyValueEntry) error {
		if name := kv.SessionKey(e.Key()); slices.Contains(c.Session, name) {
			found[name] = e.Key()
		}
		return nil
	}, jetstream.MetaOnly())
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, name := range c.Session {
		key, ok := found[name]
		if !ok {
			return nil, b.noSession(name)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

var sessionKey = regexp.MustCompile(`^[0-9a-f]{32}$`)

func allKeys(list []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !sessionKey.MatchString(s) })
}

func (b *bucket) noSession(name string) error {
	return hint(fmt.Errorf("bucket %s has no session %s", b.Bucket, name), "nats-callout session list shows those that there are")
}

type sessionShow struct {
	bucket
	which
	Reveal bool `help:"show the values too"`
}

func (c *sessionShow) Run(s *streams) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx := context.Background()
	store, err := c.open(ctx, s)
	if err != nil {
		return err
	}
	defer store.nc.Close()
	keys, err := c.entries(ctx, &c.bucket, store, s)
	if err != nil {
		return err
	}
	for _, key := range keys {
		entry, err := c.get(ctx, store, key)
		if err != nil {
			return err
		}
		about := summary(entry, store.ttl)
		fmt.Fprintln(s.out, about)
		// Strings of valid JSON contain no control characters.
		if c.Reveal && about.Fault != notObject && !about.Sealed {
			fmt.Fprintf(s.out, "%s\n", bytes.TrimSpace(entry.Value()))
		}
	}
	return nil
}

// get returns the entry of a session, which must exist.
func (b *bucket) get(ctx context.Context, store *store, key string) (jetstream.KeyValueEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	entry, err := store.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, b.noSession(kv.SessionKey(key))
	}
	if err != nil {
		return nil, b.failed(err)
	}
	return entry, nil
}

type sessionRevoke struct {
	bucket
	which
}

// Run purges the entries, because a deleted entry would stay in the bucket's history.
func (c *sessionRevoke) Run(s *streams) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx := context.Background()
	store, err := c.open(ctx, s)
	if err != nil {
		return err
	}
	defer store.nc.Close()
	keys, err := c.entries(ctx, &c.bucket, store, s)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := c.get(ctx, store, key); err != nil {
			return err
		}
		if err := c.purge(ctx, store, key); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "session %s is revoked\n", kv.SessionKey(key))
	}
	return nil
}

// markTime is how long the mark of a revoked session stays if the bucket supports that. It is
// longer than any handler is disconnected.
const markTime = 24 * time.Hour

func (b *bucket) purge(ctx context.Context, store *store, key string) error {
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	var options []jetstream.KVDeleteOpt
	if store.own {
		// Only those that watch the bucket need the mark.
		options = append(options, jetstream.PurgeTTL(markTime))
	}
	if err := store.Purge(ctx, key, options...); err != nil {
		return b.failed(err)
	}
	return nil
}
