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
// public keys only, so it is no secret.
type keys struct {
	issuer  nkeys.KeyPair // account key: signs what the callout service answers
	xkey    nkeys.KeyPair // encrypts what server and callout service say to each other
	callout nkeys.KeyPair // user of the callout service, in account AUTH
	backend nkeys.KeyPair // user of the service, in account APP
}

// each calls f with the file name, the kind and the place of each key.
func (k *keys) each(f func(name string, create func() (nkeys.KeyPair, error), kp *nkeys.KeyPair) error) error {
	return errors.Join(
		f("issuer.nk", nkeys.CreateAccount, &k.issuer),
		f("xkey.nk", nkeys.CreateCurveKeys, &k.xkey),
		f("callout.nk", nkeys.CreateUser, &k.callout),
		f("backend.nk", nkeys.CreateUser, &k.backend),
	)
}

func newKeys() (*keys, error) {
	k := &keys{}
	return k, k.each(func(name string, create func() (nkeys.KeyPair, error), kp *nkeys.KeyPair) (err error) {
		if *kp, err = create(); err != nil {
			err = fmt.Errorf("create %s: %w", name, err)
		}
		return err
	})
}

// loadKeys reads the seeds in dir.
func loadKeys(dir string) (*keys, error) {
	k := &keys{}
	return k, k.each(func(name string, _ func() (nkeys.KeyPair, error), kp *nkeys.KeyPair) error {
		seed, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if *kp, err = nkeys.FromSeed(seed); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
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
	return k, k.each(func(name string, _ func() (nkeys.KeyPair, error), kp *nkeys.KeyPair) error {
		seed, err := (*kp).Seed()
		if err != nil {
			return fmt.Errorf("seed of %s: %w", name, err)
		}
		return os.WriteFile(filepath.Join(dir, name), seed, 0o600)
	})
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
