package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// keys are the key pairs of the demonstration. The server's configuration holds
// the public key only, so it is no secret.
type keys struct {
	backend nkeys.KeyPair // user of the application's own parts, in account APP
}

func newKeys() (*keys, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("create a key: %w", err)
	}
	return &keys{kp}, nil
}

const keyFile = "backend.nk"

// loadKeys reads the seed in dir.
func loadKeys(dir string) (*keys, error) {
	seed, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	kp, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	return &keys{kp}, nil
}

// keepKeys returns the keys in dir, after making them where there are none.
func keepKeys(dir string) (*keys, error) {
	k, err := loadKeys(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = newKeys(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	seed, err := k.backend.Seed()
	if err != nil {
		return nil, fmt.Errorf("seed of %s: %w", keyFile, err)
	}
	return k, os.WriteFile(filepath.Join(dir, keyFile), seed, 0o600)
}

// public returns the public key of kp. A pair that was made or read has one.
func public(kp nkeys.KeyPair) string {
	key, err := kp.PublicKey()
	if err != nil {
		panic(fmt.Sprintf("demo: public key of a key pair: %v", err))
	}
	return key
}

// asUser is the login of kp.
func asUser(kp nkeys.KeyPair) nats.Option {
	return nats.Nkey(public(kp), kp.Sign)
}
