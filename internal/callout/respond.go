package callout

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/internal/callout/session"
)

var errLargeAnswer = errors.New("the answer is larger than the server's max_payload")

// respond sends the answer: a user JWT, or the reason of a refusal. A renewal gets no answer if its session cannot be
// looked up now or its answer cannot be sent, because a refusal would close a live connection.
func (h *Handler) respond(a *arrival, r *request, token string, refusal error) {
	err := h.send(a, r, token, refusal)
	if errors.Is(err, nats.ErrMaxPayload) && token != "" {
		// Without any answer the server would wait until its timeout.
		err = errors.Join(errLargeAnswer, h.send(a, r, "", errLargeAnswer))
	}
	if err != nil {
		h.metrics.failed.Inc()
		h.logged.Error("failed", "cannot answer a callout", "error", err)
	}
}

// send signs and publishes an answer.
func (h *Handler) send(a *arrival, r *request, token string, refusal error) error {
	if r.Renewal && !certain(refusal) {
		return nil
	}
	reason := ""
	if refusal != nil {
		reason = refusal.Error()
		h.turnAway(r, refusal)
	}
	answer, err := h.cfg.keys.respond(r, token, reason)
	if err != nil {
		return err
	}
	err = a.respond(answer)
	if err == nil && !a.nc.IsConnected() && !strings.HasPrefix(r.Credential.Value, probePrefix) {
		h.unsent.Store(a.at.Add(cmp.Or(r.patience, drainTime)).UnixNano())
	}
	return err
}

// disconnectTime is how long turnAway waits until the server has closed a connection.
const disconnectTime = time.Second

// turnAway closes a connection that cannot be judged now, before its callout is refused. On a refusal the server sends
// "Authorization Violation", and by default client libraries stop reconnecting after two of these in a row. If the
// connection is just closed, they reconnect. If it cannot be closed here, the refusal closes it. A probe is not closed,
// because it has to report the refusal.
func (h *Handler) turnAway(r *request, refusal error) {
	if h.disconnect == nil || r.Renewal || certain(refusal) || strings.HasPrefix(r.Credential.Value, probePrefix) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), disconnectTime)
	defer cancel()
	if err := h.disconnect(ctx, r.ServerID, r.ClientID); err != nil {
		h.log.Debug("cannot close a connection that cannot be judged now; it is refused", "server", r.ServerName, "client", r.ClientID, "error", err)
	}
}

// malformed counts and logs a request that gets no answer.
func (h *Handler) malformed(err error) {
	h.metrics.malformed.Inc()
	h.logged.Warn(reasonOf(err), "callout refused without an answer", "error", err)
}

// report counts and logs the result of a callout.
func (h *Handler) report(a *arrival, r *request, v *Verdict, err error) {
	h.metrics.seconds.UpdateDuration(a.at)
	attributes := []any{
		"server", r.ServerName, "client", r.ClientID, "host", r.Host, "type", r.Type, "credential", string(r.Credential.Kind),
	}
	if r.Renewal {
		attributes = append(attributes, "renewal", true)
		h.metrics.renewals.Inc()
	}
	if err != nil {
		h.refusals.add(r, err)
	}
	switch {
	case r.Renewal && !certain(err):
		h.metrics.unanswered.Inc()
		if isFault(err) {
			h.metrics.panics.Inc()
		}
		h.log.Warn("renewal put off", append(attributes, "reason", err.Error())...)
	case err == nil:
		h.metrics.granted.Inc()
		h.log.Debug("granted", append(attributes, "source", v.Session.Source, "grant", v.Grant.Grant, "account", v.Grant.Account)...)
	case isFault(err):
		h.metrics.refused.Inc()
		h.metrics.panics.Inc()
		h.log.Error("refused", append(attributes, "reason", err.Error())...)
	case errors.Is(err, session.ErrBusy):
		h.metrics.overloaded.Inc()
		h.log.Warn("refused", append(attributes, "reason", err.Error())...)
	default:
		h.metrics.refused.Inc()
		h.log.Info("refused", append(attributes, "reason", err.Error())...)
	}
}
