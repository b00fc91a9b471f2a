package openid

import (
	"context"
	"net/http"
	"slices"

	"stamp/internal/callout/session/internal/web"
)

// request sends a request to an endpoint of a document.
type request func(context.Context, *Document) (*web.Answer, error)

// askEndpoint sends a request to an endpoint of the provider. url returns the URL of the
// endpoint in a document. If the endpoint seems to be gone, askEndpoint gets the
// document again, unless it was requested too recently. If the endpoint has moved, the
// request is sent to the new URL. That is safe, because the first request had no effect.
func (p *Provider) askEndpoint(ctx context.Context, url func(*Document) string, send request) (*web.Answer, error) {
	d, err := p.Document(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := send(ctx, d)
	if !seemsGone(answer, err) || !p.discovers() || p.document.refresh(ctx) != nil {
		return answer, err
	}
	newest := p.document.snapshot().value
	if url(newest) == url(d) {
		return answer, err
	}
	p.log.Info("an endpoint of the OpenID provider has moved")
	return send(ctx, newest)
}

// goneStatuses are the statuses that mean that an endpoint does not exist or has moved.
var goneStatuses = []int{
	http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusMovedPermanently, http.StatusPermanentRedirect,
}

// seemsGone reports whether the result of a request means that the endpoint is gone.
func seemsGone(answer *web.Answer, err error) bool {
	return err != nil && Unreached(err) || err == nil && slices.Contains(goneStatuses, answer.Status)
}
