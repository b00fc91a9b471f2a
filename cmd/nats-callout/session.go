package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session/kv"
)

type sessionCommand struct {
	Create sessionCreate `cmd:"" help:"create a session, and print its id"`
	List   sessionList   `cmd:"" help:"list the sessions, by the keys that logs show; no id and no value is shown"`
	Show   sessionShow   `cmd:"" help:"show sessions, without their values unless --reveal is given"`
	Revoke sessionRevoke `cmd:"" help:"end sessions; a handler that watches the bucket closes their connections"`
}

// bucket is the flags that say where sessions are stored. They match fields of the kv source.
type bucket struct {
	connection
	Bucket string `required:"" placeholder:"NAME" help:"key-value bucket"`
	Key    string `placeholder:"TEMPLATE" help:"required if the kv source sets the field key: the same value"`
	Hash   string `enum:",sha256" default:"" placeholder:"sha256" help:"required if the kv source sets the field hash: the same value"`
	Domain string `placeholder:"NAME" help:"domain of the JetStream that has the bucket: that of the hub, for example, at a leaf site"`
}

// store is an open bucket.
type store struct {
	jetstream.KeyValue
	nc  *nats.Conn
	ttl time.Duration // of all entries; 0: none
	own bool          // entries can have a TTL of their own
}

func (b *bucket) open(ctx context.Context, s *streams) (*store, error) {
	if strings.ContainsAny(b.Domain, " \t\r\n.*>") {
		return nil, usage(errors.New("--domain: not the name of a JetStream domain, which has no spaces, dots and wildcards"), "")
	}
	nc, err := b.dial(s)
	if err != nil {
		return nil, err
	}
	kv, err := b.find(ctx, nc)
	if err != nil {
		nc.Close()
		return nil, b.failed(err)
	}
	return kv, nil
}

func (b *bucket) find(ctx context.Context, nc *nats.Conn) (*store, error) {
	js, err := b.jetStream(nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, b.Bucket)
	if err != nil {
		return nil, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &store{kv, nc, status.TTL(), status.LimitMarkerTTL() > 0}, nil
}

func (b *bucket) jetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	if b.Domain == "" {
		return jetstream.New(nc)
	}
	return jetstream.NewWithDomain(nc, b.Domain)
}

// failed returns a clear error for a failure of the bucket. Known errors contain no key; the text
// of others is not shown.
func (b *bucket) failed(err error) error {
	for _, known := range []struct {
		err    error
		advice string
	}{
		{jetstream.ErrBucketNotFound, "nats kv add " + b.Bucket + " makes it; is it in the account of this user?"},
		{jetstream.ErrJetStreamNotEnabled, "the server's configuration needs a jetstream block"},
		{jetstream.ErrJetStreamNotEnabledForAccount, "the account of this user needs jetstream: enabled"},
		{context.DeadlineExceeded, "may this user use the JetStream API?"},
		{nats.ErrTimeout, "may this user use the JetStream API?"},
		{nats.ErrNoResponders, "JetStream is not enabled for the account of this user, or --domain is missing"},
		{jetstream.ErrInvalidBucketName, ""}, {nats.ErrPermissionViolation, ""},
	} {
		if errors.Is(err, known.err) {
			return hint(fmt.Errorf("bucket %s: %w", b.Bucket, known.err), known.advice)
		}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return fmt.Errorf("bucket %s: the server refuses it (code %d)", b.Bucket, api.ErrorCode)
	}
	return fmt.Errorf("bucket %s: unexpected answer of the server", b.Bucket)
}

// keyOf returns the key of the entry for a session id.
func (b *bucket) keyOf(id string) (string, error) {
	if err := kv.CheckKeyTemplate(b.Key); err != nil {
		return "", usage(fmt.Errorf("--key: %w", err), "")
	}
	key, ok := kv.KeyOf(b.Key, b.Hash, id)
	if !ok {
		return "", errors.New("no key can be made of this id: a key has letters, digits and - _ = . /; with --hash sha256 any id gives one")
	}
	return key, nil
}

// endField is the field with the end of a session in Unix seconds. It is the default of the kv
// source's field expires.
const endField = "expires"

type sessionCreate struct {
	bucket
	Data string        `default:"-" placeholder:"JSON" help:"content, a JSON object: itself, @FILE, env:NAME, or - for standard input (default)"`
	TTL  time.Duration `default:"24h" placeholder:"DURATION" help:"how long the session lives; 0: until it is revoked (default: 24h)"`
}

// Run prints the id, and nothing else, on standard output.
func (c *sessionCreate) Run(s *streams) error {
	if c.TTL != 0 && c.TTL < time.Second {
		return usage(errors.New("--ttl must be 1s or more, or 0"), "")
	}
	data, err := c.content(s)
	if err != nil {
		return err
	}
	id := rand.Text()
	key, err := c.keyOf(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	store, err := c.open(ctx, s)
	if err != nil {
		return err
	}
	defer store.nc.Close()
	var options []jetstream.KVCreateOpt
	if c.TTL > 0 && store.own {
		options = append(options, jetstream.KeyTTL(c.TTL.Round(time.Second)))
	}
	if _, err := store.Create(ctx, key, data, options...); err != nil {
		return c.failed(err)
	}
	fmt.Fprintf(s.err, "session %s is created\n", kv.SessionKey(key))
	_, err = fmt.Fprintln(s.out, id)
	return err
}

// content returns the session as JSON, with its end.
func (c *sessionCreate) content(s *streams) ([]byte, error) {
	text := c.Data
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		if !isSource(source(text)) {
			return nil, usage(errors.New("--data: expected a JSON object, @FILE, env:NAME or - for standard input; found another text"), "")
		}
		var err error
		if text, err = s.read(source(text), "--data"); err != nil {
			return nil, err
		}
	}
	// Raw, so that numbers stay as they are written.
	var data map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &data); err != nil || data == nil {
		return nil, fmt.Errorf("--data: expected a JSON object such as {\"user\":\"alice\"}; found %s", foundJSON(err))
	}
	if c.TTL == 0 {
		return json.Marshal(data)
	}
	if _, ok := data[endField]; ok {
		return nil, hint(fmt.Errorf("--data has the field %s already", endField), "--ttl 0 leaves it as it is")
	}
	data[endField] = fmt.Appendf(nil, "%d", time.Now().Add(c.TTL).Unix())
	return json.Marshal(data)
}

// foundJSON says what a text is that is not a JSON object, by the error of its decoding. It quotes nothing, since the text
// may have secrets.
func foundJSON(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("a text that is not JSON from byte %d on", syntax.Offset)
	}
	return "JSON of another type"
}
