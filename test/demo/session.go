package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// sessions is the store of the web server: a key-value bucket, where the callout
// handler finds them. Whoever deletes one there ends it.
type sessions struct{ bucket jetstream.KeyValue }

const (
	bucketName = "sessions"
	// lifetime of a session and of its cookie.
	lifetime = time.Hour
)

// openSessions makes the bucket where there is none.
func openSessions(ctx context.Context, nc *nats.Conn) (*sessions, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	bucket, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucketName, TTL: lifetime, Description: "who is behind a session cookie",
	})
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	return &sessions{bucket}, nil
}

// session is the entry's content. The handler makes headers of it.
type session struct {
	User  string `json:"user"`
	Token string `json:"token"` // access token, as an OpenID provider would give one
}

// create returns the id of a new session: 130 random bits, without a meaning.
func (s *sessions) create(ctx context.Context, user string) (string, error) {
	id := rand.Text()
	data, err := json.Marshal(session{user, rand.Text()})
	if err != nil {
		return "", err
	}
	_, err = s.bucket.Create(ctx, id, data)
	return id, err
}

// user returns whose session id is; empty when there is none.
func (s *sessions) user(ctx context.Context, id string) (string, error) {
	found, err := s.get(ctx, id)
	return found.User, err
}

// token returns the access token of a session; empty if there is none.
func (s *sessions) token(ctx context.Context, id string) string {
	found, err := s.get(ctx, id)
	if err != nil {
		return ""
	}
	return found.Token
}

// get returns a session; an empty one if there is none with that id.
func (s *sessions) get(ctx context.Context, id string) (found session, err error) {
	entry, err := s.bucket.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return session{}, nil
	}
	if err != nil {
		return session{}, err
	}
	err = json.Unmarshal(entry.Value(), &found)
	return found, err
}

// refresh gives a session a new access token, and returns it; empty when there is no session.
func (s *sessions) refresh(ctx context.Context, id string) (string, error) {
	user, err := s.user(ctx, id)
	if err != nil || user == "" {
		return "", err
	}
	next := session{user, rand.Text()}
	data, err := json.Marshal(next)
	if err != nil {
		return "", err
	}
	_, err = s.bucket.Put(ctx, id, data)
	return next.Token, err
}

func (s *sessions) remove(ctx context.Context, id string) error { return s.bucket.Delete(ctx, id) }

// mask shows the first four characters of a secret, of 26 in a session id.
func mask(secret string) string {
	const shown = 4
	if len(secret) <= shown {
		return "…"
	}
	return secret[:shown] + "…"
}

// inboxPrefix keeps a visitor from reading the answers that others get.
func inboxPrefix(user string) string { return "_INBOX." + user }
