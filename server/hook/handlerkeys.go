package hook

import (
	"fmt"
	"sync"

	"github.com/nats-io/nkeys"
)

// keyring creates and keeps the keys of the callout handlers inside this process: an issuer and an xkey
// for servers that configure none, and one user key for each account that a handler connects to.
type keyring struct {
	mu           sync.Mutex
	issuer, xkey nkeys.KeyPair
	users        map[string]nkeys.KeyPair // by account
	own          map[string]bool          // public keys of users
}

// keys lives as long as the process, so that keys stay the same when a reload parses the
// configuration again.
var keys = keyring{users: map[string]nkeys.KeyPair{}, own: map[string]bool{}}

// handlerKeys returns the issuer and the xkey. The first call creates them.
func (k *keyring) handlerKeys() (issuer, xkey nkeys.KeyPair, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.issuer != nil {
		return k.issuer, k.xkey, nil
	}
	if k.xkey, err = nkeys.CreateCurveKeys(); err == nil {
		k.issuer, err = nkeys.CreateAccount()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("callout: create keys: %w", err)
	}
	return k.issuer, k.xkey, nil
}

// user returns the key of the handler's user in an account. The first call for an account
// creates it.
func (k *keyring) user(account string) (nkeys.KeyPair, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kp := k.users[account]; kp != nil {
		return kp, nil
	}
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("callout: create keys: %w", err)
	}
	k.users[account], k.own[public(kp)] = kp, true
	return kp, nil
}

// isOwn reports whether user is the public key of a user of the handler.
func (k *keyring) isOwn(user string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.own[user]
}

// public returns the public key of a pair that was created or parsed, which cannot fail.
func public(kp nkeys.KeyPair) string {
	key, err := kp.PublicKey()
	if err != nil {
		panic(fmt.Sprintf("hook: public key of a key pair: %v", err))
	}
	return key
}
