// Package users knows users and their bcrypt passwords, from the configuration or
// a file in NATS syntax.
//
// An unknown user takes the time of a wrong password, so that nobody can find out
// who there is. That holds when all hashes have the same cost; else a user with a cheaper one
// may be told by the time that it takes.
package users

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
	"stamp/server/conf"
)

// Config is the block of a users source.
type Config struct {
	session.Settings
	File  string      `conf:"file"`  // has a field users, like this block; it is read at start and at reload
	Users []conf.Node `conf:"users"` // {user, password, ...}: what else there is is the session's

	users map[string]user
	dummy []byte // hash, compared with for unknown users
	cost  int    // of dummy: the highest of all
}

type user struct {
	hash []byte
	data map[string]any
}

const (
	maxPassword = 72 // bytes; bcrypt does not look at those behind
	maxCost     = 16 // takes about 5 seconds
)

// Parse reads and checks the block of a source, and its file.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), users: map[string]user{}}
	// Comparing hashes is work for a CPU. Half of them are left for the server that the
	// handler may be in: who guesses passwords must not stop it.
	cfg.Concurrency = max(1, runtime.GOMAXPROCS(0)/2)
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	for _, item := range cfg.Users {
		cfg.add(item, faults)
	}
	if cfg.File != "" {
		cfg.addFile(n.Get("file"), faults)
	}
	if len(cfg.Users) == 0 && cfg.File == "" {
		faults.Add(n, "there are no users: fields %q and %q are missing", "users", "file")
	}
	cfg.Users = nil
	return &cfg
}

func (c *Config) addFile(at conf.Node, faults *conf.Faults) {
	n, err := conf.ParseFile(c.File)
	if err != nil {
		faults.Add(at, "file: %v", err)
		return
	}
	var content struct {
		Users []conf.Node `conf:"users,required"`
	}
	n.Decode(&content, faults)
	for _, item := range content.Users {
		c.add(item, faults)
	}
}

func (c *Config) add(n conf.Node, faults *conf.Faults) {
	if n.Fields() == nil {
		faults.Add(n, "users: expected blocks of user, password and what the session holds")
		return
	}
	name, _ := n.Get("user").Plain().(string)
	hash, _ := n.Get("password").Plain().(string)
	at := func(field string) conf.Node {
		if f := n.Get(field); !f.IsZero() {
			return f
		}
		return n
	}
	if name == "" || !stored.Printable(name) {
		faults.Add(at("user"), "user: expected a name")
		return
	}
	if _, twice := c.users[name]; twice {
		faults.Add(at("user"), "user %q is there twice", name)
	}
	if hash == "" {
		faults.Add(at("password"), "password of user %q: expected a bcrypt hash as a string", name)
		return
	}
	if fault := hashFault(hash); fault != "" {
		faults.Add(at("password"), "password of user %q is not a bcrypt hash: %s; make one with htpasswd -nBC 11 USER", name, fault)
		return
	}
	cost, _ := bcrypt.Cost([]byte(hash)) // hashFault has read it
	if cost > maxCost {
		faults.Add(at("password"), "password of user %q: the cost of the hash is %d; above %d a login takes too long", name, cost, maxCost)
	}
	if c.dummy == nil || cost > c.cost {
		c.dummy, c.cost = []byte(hash), cost
	}
	data := stored.FromConf(n, func(field string) bool {
		return strings.EqualFold(field, "password") || strings.EqualFold(field, "user")
	})
	data["user"] = name
	c.users[name] = user{[]byte(hash), data}
}

// Open returns the source.
func (c *Config) Open(context.Context, session.Env) (session.Source, error) { return newSource(c), nil }

type source struct {
	cfg     *Config
	compare func(hash, password []byte) error

	// passed has, by user, a MAC of the password that was compared last and was right. The users of a
	// source do not change, so a renewal with that password needs no comparison: thousands of connections
	// renew in minutes, and a CPU compares some tens of passwords in a second. The server has the password
	// of a live connection in memory too.
	key    []byte
	mu     sync.Mutex
	passed map[string][sha256.Size]byte
}

func newSource(c *Config) *source {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // it never fails
	return &source{cfg: c, compare: bcrypt.CompareHashAndPassword, key: key, passed: map[string][sha256.Size]byte{}}
}

func (s *source) mac(password string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(password))
	mac.Sum(sum[:0])
	return sum
}

// remembered tells whether the password of a renewal is the one that was right before.
func (s *source) remembered(r *session.Request) bool {
	if !r.Renewal {
		return false
	}
	sum := s.mac(r.Credential.Password)
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.passed[r.Credential.Username]
	return ok && hmac.Equal(sum[:], last[:])
}

// remember notes a password that is right. There is one for each user of the configuration.
func (s *source) remember(c *session.Credential) {
	sum := s.mac(c.Password)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed[c.Username] = sum
}

// Accepts takes a user with a password.
func (*source) Accepts(r *session.Request) (string, bool) {
	c := &r.Credential
	if c.Kind != session.Password || c.Username == "" || c.Password == "" || len(c.Password) > maxPassword || len(c.Username) > stored.MaxCredential {
		return "", false
	}
	// The length keeps two pairs from making the same key.
	return strconv.Itoa(len(c.Username)) + ":" + c.Username + c.Password, true
}

// Find compares the password.
func (s *source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	if _, ok := s.Accepts(r); !ok || s.cfg.dummy == nil {
		return nil, session.ErrUnknown
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("compare password: %w", err)
	}
	u, known := s.cfg.users[r.Credential.Username]
	if !known {
		u.hash = s.cfg.dummy
	}
	if !known || !s.remembered(r) {
		if err := s.compare(u.hash, []byte(r.Credential.Password)); err != nil || !known {
			return nil, session.ErrUnknown
		}
		s.remember(&r.Credential)
	}
	return &session.Session{Data: u.data, Key: r.Credential.Username}, nil
}

// Close does nothing.
func (*source) Close() error { return nil }
