package main

import (
	"crypto/rand"
	"sync"
	"time"
)

// sessions is the store of the web server: who is behind a session id. A real
// application has a database here; nothing but the web server touches it.
type sessions struct {
	mu   sync.Mutex
	byID map[string]session
}

type session struct {
	user    string
	expires time.Time
}

// lifetime of a session, of its cookie, and of the user JWT that it gets.
const lifetime = time.Hour

// create returns the id of a new session: 130 random bits, without a meaning.
func (s *sessions) create(user string, now time.Time) string {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[string]session{}
	}
	for old, entry := range s.byID {
		if now.After(entry.expires) {
			delete(s.byID, old)
		}
	}
	s.byID[id] = session{user, now.Add(lifetime)}
	return id
}

// user returns whose session id is.
func (s *sessions) user(id string, now time.Time) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.byID[id]
	if !ok || now.After(entry.expires) {
		return "", false
	}
	return entry.user, true
}

func (s *sessions) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

// mask shows the first four characters of a secret, of 26 in a session id.
func mask(secret string) string {
	const shown = 4
	if len(secret) <= shown {
		return "…"
	}
	return secret[:shown] + "…"
}
