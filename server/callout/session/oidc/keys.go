package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"stamp/server/callout/session/internal/web"
)

// keySet has the provider's keys. It asks for them when they are old, and when a
// token names one that it does not have, but never more often than every
// retryKeys: whoever makes tokens up must not make us hammer the provider.
type keySet struct {
	cfg    *Config
	flight singleflight.Group

	mu      sync.Mutex
	url     string // of the keys; empty: not discovered yet
	keys    []jose.JSONWebKey
	fetched time.Time // when the keys came
	tried   time.Time // when they were asked for last
}

const (
	retryKeys = 10 * time.Second
	// staleKeys is how long keys are used when the provider does not answer.
	staleKeys = 24 * time.Hour
)

var errNoKeys = errors.New("the provider's keys are not known")

// find returns the keys that a token with that key id may be signed with; an
// empty id is any. None is an answer too: the provider has no such key.
func (k *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	found, age := k.held(id)
	if len(found) > 0 && age < k.cfg.Refresh {
		return found, nil
	}
	err := k.refresh(ctx)
	found, age = k.held(id)
	switch {
	case len(found) > 0 && age < staleKeys:
		return found, nil
	case err != nil:
		return nil, err
	case age >= staleKeys:
		return nil, errNoKeys
	}
	return nil, nil
}

// held returns the keys of that id that there are, and how old all are.
func (k *keySet) held(id string) (found []jose.JSONWebKey, age time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		if (id == "" || key.KeyID == id) && (key.Use == "" || key.Use == "sig") && key.IsPublic() && key.Valid() {
			found = append(found, key)
		}
	}
	return found, time.Since(k.fetched)
}

// refresh asks for the keys, unless that was done a moment ago. It waits for one
// that is under way.
func (k *keySet) refresh(ctx context.Context) error {
	ch := k.flight.DoChan("", func() (any, error) {
		k.mu.Lock()
		early := !k.tried.IsZero() && time.Since(k.tried) < retryKeys
		if !early {
			k.tried = time.Now()
		}
		never := k.fetched.IsZero()
		k.mu.Unlock()
		if early {
			if never {
				return nil, errNoKeys
			}
			return nil, nil
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

func (k *keySet) fetch(ctx context.Context) error {
	url, err := k.address(ctx)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errors.New("address of the provider's keys is not a URL")
	}
	answer, err := k.cfg.client.Do(request)
	if err != nil {
		return fmt.Errorf("get the provider's keys: %w", err)
	}
	if answer.Status != http.StatusOK {
		return fmt.Errorf("get the provider's keys: status %d", answer.Status)
	}
	var set jose.JSONWebKeySet
	if json.Unmarshal(answer.Body, &set) != nil || len(set.Keys) == 0 {
		return errors.New("get the provider's keys: the answer has none")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.url, k.keys, k.fetched = url, set.Keys, time.Now()
	return nil
}

// address returns where the keys are: configured, or discovered.
func (k *keySet) address(ctx context.Context) (string, error) {
	if k.cfg.JWKSURL != "" {
		return k.cfg.JWKSURL, nil
	}
	k.mu.Lock()
	url := k.url
	k.mu.Unlock()
	if url != "" {
		return url, nil
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.cfg.client.HTTP()), k.cfg.Issuer)
	if err != nil {
		return "", fmt.Errorf("discover the provider: %w", discoveryError(err))
	}
	var document struct {
		URL string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil || document.URL == "" {
		return "", errors.New("discover the provider: its document has no jwks_uri")
	}
	return document.URL, nil
}

// discoveryError keeps what the provider answered out of an error.
func discoveryError(err error) error {
	var mismatch *oidc.IssuerMismatchError
	if errors.As(err, &mismatch) {
		return errors.New("it calls itself by another name than issuer")
	}
	return web.Clean(err)
}
