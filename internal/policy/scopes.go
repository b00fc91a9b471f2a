package policy

import (
	"crypto/sha256"
	"sync"

	"stamp.example/claim"
)

// scopes spares reading the account JWT for every connection of an account.
var scopes = scopeCache{maxBytes: 8 << 20}

// scopeCache holds what account JWTs say about headers. It has one entry for each
// account, for the account JWT that a connection used last.
type scopeCache struct {
	// maxBytes is about how many bytes the cache may use. Above it, all entries are
	// dropped. One account may use an eighth, so that it cannot push out the others
	// whenever one of its users connects.
	maxBytes int

	mu       sync.Mutex // guards the fields below and those of accountScopes that say so
	accounts map[string]*accountScopes
	bytes    int // about how many bytes all entries use
}

// accountScopes is what one account JWT says about headers. The JWT may be large, so
// only its digest is kept.
type accountScopes struct {
	cache      *scopeCache
	account    string
	digest     [sha256.Size]byte
	lookalikes []string

	// The lock of cache guards these.
	templates map[scopeKey]*claim.Claim // nil for a key without a template
	bytes     int
	dropped   bool // it is no longer in the cache, and its size does not count
}

type scopeKey struct {
	signingKey string
	limits     claim.Limits
}

// ofAccount returns the entry for an account and its JWT. It makes the entry if the
// cache has none for this JWT.
func (s *scopeCache) ofAccount(account, accountJWT string) *accountScopes {
	digest := digestOf(accountJWT)
	s.mu.Lock()
	cached := s.accounts[account]
	s.mu.Unlock()
	if cached != nil && cached.digest == digest {
		return cached
	}
	next := &accountScopes{cache: s, account: account, digest: digest, lookalikes: claim.AccountLookalikes(accountJWT), templates: map[scopeKey]*claim.Claim{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(account)
	if s.accounts == nil {
		s.accounts = map[string]*accountScopes{}
	}
	s.accounts[account] = next
	next.addSize(len(account) + perAccount + sizeOf(next.lookalikes))
	return next
}

// template returns the claim in the template of a signing key, or nil. accountJWT is
// the JWT that a was made from.
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
		a.addSize(len(signingKey) + perTemplate + templateSize(cl))
	}
	return cl, nil
}

// addSize adds to the size of a, and drops what is then too large. The caller holds
// the lock of the cache.
func (a *accountScopes) addSize(bytes int) {
	s := a.cache
	if a.dropped {
		return
	}
	a.bytes += bytes
	s.bytes += bytes
	if a.bytes > s.maxBytes/8 {
		s.drop(a.account)
	}
	if s.bytes > s.maxBytes {
		for account := range s.accounts {
			s.drop(account)
		}
	}
}

// drop removes the entry of an account. The caller holds the lock.
func (s *scopeCache) drop(account string) {
	if a := s.accounts[account]; a != nil {
		s.bytes -= a.bytes
		a.dropped = true
		delete(s.accounts, account)
	}
}

// About how many bytes each of these uses besides its text.
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

// digestOf returns the SHA-256 of text. It does not copy the text as a whole.
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
