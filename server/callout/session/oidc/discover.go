package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/coreos/go-oidc/v3/oidc"

	"stamp/server/callout/session/internal/web"
)

// address returns where the keys are: configured, or discovered.
func (k *keySet) address(ctx context.Context) (string, error) {
	if k.cfg.JWKSURL != "" {
		return k.cfg.JWKSURL, nil
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
	// Who can change the keys on the way can be anybody.
	issuer, _ := url.Parse(k.cfg.Issuer)
	if at, err := url.Parse(document.URL); err != nil || issuer != nil && issuer.Scheme == "https" && at.Scheme != "https" {
		return "", errors.New("discover the provider: its keys are not at an https address, as issuer is")
	}
	return document.URL, nil
}

// discoveryError keeps what the provider answered out of an error.
func discoveryError(err error) error {
	var mismatch *oidc.IssuerMismatchError
	var sent *url.Error // what net/http returns; go-oidc makes the others of an answer
	switch {
	case errors.As(err, &mismatch):
		return errors.New("it calls itself by another name than issuer")
	case errors.As(err, &sent):
		return web.Clean(err)
	}
	return errors.New("it does not answer /.well-known/openid-configuration with its document")
}
