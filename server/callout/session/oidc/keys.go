package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

// keySet has the provider's keys. It asks for them before they are old, and when a
// token names one that it does not have, but never more often than every
// retryKeys: whoever makes tokens up must not make us hammer the provider.
type keySet struct {
	cfg    *Config
	flight singleflight.Group

	mu      sync.Mutex
	url     string // of the keys; empty: to be discovered
	keys    []jose.JSONWebKey
	fetched time.Time // when the keys came
	tried   time.Time // when they were asked for last
	failure error     // of that; nil: it went well
}

const (
	retryKeys = 10 * time.Second
	// staleKeys is how long keys are used when the provider does not answer.
	staleKeys = 24 * time.Hour
)

var errNoKeys = errors.New("the provider has no key that signs with an algorithm known here")

// keep asks for the keys until they are there, and then before they are old,
// until ctx ends: so no login waits for the provider, nor does one that is away for a while
// keep anybody from logging in.
func (k *keySet) keep(ctx context.Context, log *slog.Logger) {
	failing := false
	for ctx.Err() == nil {
		err := k.refresh(ctx)
		// Not all processes that have begun at once ask at once.
		wait := max(k.cfg.Refresh/2+rand.N(k.cfg.Refresh/4), retryKeys)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = retryKeys
			if !failing {
				log.Warn("keys of the OpenID provider cannot be had; trying again", "source", k.cfg.Name, "error", err)
			}
		case failing:
			log.Info("keys of the OpenID provider are there", "source", k.cfg.Name)
		}
		failing = err != nil
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// find returns the keys that a token with that key id may be signed with; an
// empty id is any. None is an answer too: the provider has no such key.
func (k *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	have := k.held(id)
	if len(have.keys) > 0 && (have.fresh || have.failing && have.usable) {
		return have.keys, nil
	}
	err := k.refresh(ctx)
	have = k.held(id)
	switch {
	case len(have.keys) > 0 && have.usable:
		return have.keys, nil
	case err != nil:
		return nil, err
	}
	return nil, nil
}

// heldKeys are keys, and how far they are to be trusted.
type heldKeys struct {
	keys    []jose.JSONWebKey
	fresh   bool // not old yet
	usable  bool // old maybe, but good while the provider is away
	failing bool // newer ones were asked for, and did not come: keep goes on with that
}

func (k *keySet) held(id string) heldKeys {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := time.Since(k.fetched)
	h := heldKeys{
		fresh: age < k.cfg.Refresh, usable: age < max(staleKeys, k.cfg.Refresh), failing: k.failure != nil,
	}
	for _, key := range k.keys {
		if id == "" || key.KeyID == id {
			h.keys = append(h.keys, key)
		}
	}
	return h
}

// refresh asks for the keys, unless that was done a moment ago: then it returns
// what came of that. It waits for one that is under way.
func (k *keySet) refresh(ctx context.Context) error {
	ch := k.flight.DoChan("", func() (any, error) {
		k.mu.Lock()
		early, failure := !k.tried.IsZero() && time.Since(k.tried) < retryKeys, k.failure
		if !early {
			k.tried = time.Now()
		}
		k.mu.Unlock()
		if early {
			return nil, failure
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.cfg.Timeout)
		defer cancel()
		return nil, k.fetch(ctx)
	})
	select {
	case result := <-ch:
		return result.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetch asks, and keeps what came. An answer without keys is one: those that
// were there are withdrawn.
func (k *keySet) fetch(ctx context.Context) error {
	k.mu.Lock()
	url := k.url
	k.mu.Unlock()
	keys, url, err := k.ask(ctx, url)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.url, k.failure = url, err
	if err == nil || errors.Is(err, errNoKeys) {
		k.keys, k.fetched = keys, time.Now()
	}
	return err
}

// ask returns the keys, and where they are. Without an answer that is to be
// discovered anew: they may have moved.
func (k *keySet) ask(ctx context.Context, url string) ([]jose.JSONWebKey, string, error) {
	if url == "" {
		var err error
		if url, err = k.address(ctx); err != nil {
			return nil, "", err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", errors.New("address of the provider's keys is not a URL")
	}
	answer, err := k.cfg.client.Do(request)
	if err != nil {
		return nil, "", fmt.Errorf("get the provider's keys: %w", err)
	}
	if answer.Status != http.StatusOK {
		return nil, "", fmt.Errorf("get the provider's keys: status %d", answer.Status)
	}
	keys, err := parseKeys(answer.Body)
	if err != nil && !errors.Is(err, errNoKeys) {
		url = ""
	}
	return keys, url, err
}

// parseKeys returns the keys of a set that signatures can be checked with. One that
// is not understood does not spoil the others (RFC 7517, 5): providers have keys for
// encryption, and of kinds newer than this.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil || set.Keys == nil {
		return nil, errors.New("get the provider's keys: the answer is not a set of keys")
	}
	var keys []jose.JSONWebKey
	for _, raw := range *set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && (key.Use == "" || key.Use == "sig") && key.IsPublic() && key.Valid() {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}
