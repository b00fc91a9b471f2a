package policy

import (
	"crypto/sha256"
	"sync"

	"stamp/server/claim"
)

// scopes saves reading the account JWT for each connection of an account.
var scopes = scopeCache{most: 8 << 20}

// scopeCache holds what the account JWTs say about headers, of each account the one that a connection came with last:
// an update of the account takes the place of what was before.
type scopeCache struct {
	// most is how many bytes are kept, about; all accounts are dropped above it. One account may have an eighth, so
	// that it cannot push out the others whenever one of its users connects.
	most int

	mu       sync.Mutex
	accounts map[string]*accountScopes
	bytes    int
}

// accountScopes is what one account JWT says. Of the JWT itself, which may be large, only a digest is kept.
type accountScopes struct {
	cache      *scopeCache
	account    string
	digest     [sha256.Size]byte
	lookalikes []string

	// Under the cache's lock.
	templates map[scopeKey]*claim.Claim
	bytes     int
	dropped   bool // it is not in the cache any more
}

type scopeKey struct {
	signingKey string
	limits     claim.Limits
}

// of returns what the JWT of an account says.
func (s *scopeCache) of(account, accountJWT string) *accountScopes {
	digest := digestOf(accountJWT)
	s.mu.Lock()
	known := s.accounts[account]
	s.mu.Unlock()
	if known != nil && known.digest == digest {
		return known
	}
	next := &accountScopes{cache: s, account: account, digest: digest, lookalikes: claim.AccountLookalikes(accountJWT), templates: map[scopeKey]*claim.Claim{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(account)
	if s.accounts == nil {
		s.accounts = map[string]*accountScopes{}
	}
	s.accounts[account] = next
	next.grow(len(account) + perAccount + sizeOf(next.lookalikes))
	return next
}

// template returns the template of a signing key, or nil. accountJWT is that of a.
func (a *accountScopes) template(accountJWT, signingKey string, l claim.Limits) (*claim.Claim, error) {
	key := scopeKey{signingKey, l}
	a.cache.mu.Lock()
	cl, ok := a.templates[key]
	a.cache.mu.Unlock()
	if ok {
		return cl, nil
	}
	cl, err := claim.FromAccountJWT(accountJWT, signingKey, l)
	if err != nil {
		return nil, err
	}
	a.cache.mu.Lock()
	defer a.cache.mu.Unlock()
	if _, ok := a.templates[key]; !ok {
		a.templates[key] = cl
		a.grow(len(signingKey) + perTemplate + templateSize(cl))
	}
	return cl, nil
}

// grow notes that a holds more. The cache's lock is held.
func (a *accountScopes) grow(bytes int) {
	s := a.cache
	if a.dropped {
		return
	}
	a.bytes += bytes
	s.bytes += bytes
	if a.bytes > s.most/8 {
		s.drop(a.account)
	}
	if s.bytes > s.most {
		for account := range s.accounts {
			s.drop(account)
		}
	}
}

// drop takes an account out. The lock is held.
func (s *scopeCache) drop(account string) {
	if a := s.accounts[account]; a != nil {
		s.bytes -= a.bytes
		a.dropped = true
		delete(s.accounts, account)
	}
}

// About what is allocated, in bytes, beside the text.
const (
	perAccount  = 512
	perTemplate = 256
	perHeader   = 128
	perString   = 24
)

func templateSize(cl *claim.Claim) int {
	if cl == nil {
		return 0
	}
	n := sizeOf(cl.Publish) + sizeOf(cl.Subscribe)
	for _, h := range cl.Headers {
		n += perHeader + len(h.Name) + sizeOf(h.Values) + sizeOf(h.Subjects)
	}
	return n
}

func sizeOf(texts []string) int {
	n := 0
	for _, t := range texts {
		n += perString + len(t)
	}
	return n
}

// digestOf hashes a text without a copy of it.
func digestOf(text string) (digest [sha256.Size]byte) {
	h := sha256.New()
	var buf [4096]byte
	for text != "" {
		n := copy(buf[:], text)
		h.Write(buf[:n])
		text = text[n:]
	}
	h.Sum(digest[:0])
	return digest
}
