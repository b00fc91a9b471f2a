package openid

import (
	"context"
	"net/http"
	"slices"

	"stamp/server/callout/session/internal/web"
)

// asking makes a request to an endpoint of a document.
type asking func(context.Context, *Document) (*web.Answer, error)

// askEndpoint makes a request to an endpoint of the provider. Where that seems to have gone, the document is looked at
// again, as often as that may be asked for, and the request is made where it says that the endpoint is now. The one
// before has done nothing there.
func (p *Provider) askEndpoint(ctx context.Context, of func(*Document) string, ask asking) (*web.Answer, error) {
	d, err := p.Document(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := ask(ctx, d)
	if !seemsGone(answer, err) || !p.discovers() || p.document.refresh(ctx) != nil {
		return answer, err
	}
	now := p.document.held().value
	if of(now) == of(d) {
		return answer, err
	}
	p.log.Info("an endpoint of the OpenID provider has moved")
	return ask(ctx, now)
}

// goneStatuses are what a server answers where an endpoint is no more, or was moved.
var goneStatuses = []int{
	http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusMovedPermanently, http.StatusPermanentRedirect,
}

func seemsGone(answer *web.Answer, err error) bool {
	return err != nil && Unreached(err) || err == nil && slices.Contains(goneStatuses, answer.Status)
}
