// Package users is a session source of users and their bcrypt passwords, which are in
// the configuration or in a file in NATS syntax.
//
// A look-up of an unknown user takes as long as one with a wrong password, so that
// response times do not reveal which users exist. This holds only if all hashes have
// the same cost.
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

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/conf"
)

// Config is the block of a users source.
type Config struct {
	session.Settings
	File  string      `conf:"file"`  // path of a file with a field users; read at start and at reload
	Users []conf.Node `conf:"users"` // blocks of user, password and fields of the session

	users     map[string]user
	dummy     []byte // hash with which the passwords of unknown users are compared
	dummyCost int    // bcrypt cost of dummy, the highest of all hashes
}

type user struct {
	hash []byte
	data map[string]any // content of the session
}

const (
	maxPassword = 72 // bytes; bcrypt ignores further ones
	maxCost     = 16 // a comparison with this cost takes about 5 seconds
)

// Parse reads and checks the block of a source, and its file.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), users: map[string]user{}}
	// Each comparison keeps a CPU busy. The handler may run inside the server, so half of
	// the CPUs stay free: a client that guesses passwords must not stop the server.
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
		faults.Add(n, "expected users or file: there are no users without them")
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
	n.AddRepeated("file", faults)
	n.Decode(&content, faults)
	for _, item := range content.Users {
		c.add(item, faults)
	}
}

func (c *Config) add(n conf.Node, faults *conf.Faults) {
	if n.Fields() == nil {
		faults.Add(n, "users: expected blocks {user, password, ...}, where further fields are those of the session")
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
		faults.Add(at("user"), "user: expected a printable name")
		return
	}
	if _, twice := c.users[name]; twice {
		faults.Add(at("user"), "user: duplicate user %q", name)
	}
	if hash == "" {
		faults.Add(at("password"), "password of user %q: expected a bcrypt hash as a string", name)
		return
	}
	if fault := hashFault(hash); fault != "" {
		faults.Add(at("password"), "password of user %q is not a bcrypt hash: %s; make one with htpasswd -nBC 11 USER", name, fault)
		return
	}
	cost, _ := bcrypt.Cost([]byte(hash)) // no error: hashFault has read the cost
	if cost > maxCost {
		faults.Add(at("password"), "password of user %q: expected a hash with a cost of at most %d, because a login takes too long with more; found %d", name, maxCost, cost)
	}
	if c.dummy == nil || cost > c.dummyCost {
		c.dummy, c.dummyCost = []byte(hash), cost
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

	// verified has by user name a MAC of the last password that was right. The users of a source do
	// not change, so a renewal with the same password needs no comparison. Thousands of connections
	// may renew within minutes, and a CPU compares only some tens of passwords a second. Only MACs
	// are kept; the server itself keeps the passwords of live connections in memory.
	macKey   []byte
	mu       sync.Mutex // guards verified
	verified map[string][sha256.Size]byte
}

func newSource(c *Config) *source {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &source{cfg: c, compare: bcrypt.CompareHashAndPassword, macKey: key, verified: map[string][sha256.Size]byte{}}
}

func (s *source) mac(password string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, s.macKey)
	mac.Write([]byte(password))
	mac.Sum(sum[:0])
	return sum
}

// isVerified reports whether r is a renewal with the user's last verified password.
func (s *source) isVerified(r *session.Request) bool {
	if !r.Renewal {
		return false
	}
	sum := s.mac(r.Credential.Password)
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.verified[r.Credential.Username]
	return ok && hmac.Equal(sum[:], last[:])
}

// setVerified notes that the password of c is right. c is of a configured user, so
// there are at most as many entries as users.
func (s *source) setVerified(c *session.Credential) {
	sum := s.mac(c.Password)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified[c.Username] = sum
}

// Accepts accepts a user name with a password.
func (*source) Accepts(r *session.Request) (string, bool) {
	c := &r.Credential
	if c.Kind != session.Password || c.Username == "" || c.Password == "" || len(c.Password) > maxPassword || len(c.Username) > stored.MaxCredential {
		return "", false
	}
	// The length in front ensures that no two pairs have the same key.
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
	u, exists := s.cfg.users[r.Credential.Username]
	if !exists {
		u.hash = s.cfg.dummy
	}
	if !exists || !s.isVerified(r) {
		if err := s.compare(u.hash, []byte(r.Credential.Password)); err != nil || !exists {
			return nil, session.ErrUnknown
		}
		s.setVerified(&r.Credential)
	}
	return &session.Session{Data: u.data, Key: r.Credential.Username}, nil
}

// Close does nothing.
func (*source) Close() error { return nil }
