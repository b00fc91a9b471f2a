package callout

import (
	"slices"
	"time"
)

// A server asks the handler inside it first about its own connections, and not the queue group. So
// a peer that is frozen, or that cannot close a connection of another server, does not take part.
// The server asks the group if its own handler cannot decide.

// AcceptRequest gives the handler a callout of the server that it is in, and returns whether the handler will answer
// it. from is the xkey of the server, empty if the request is not encrypted.
func (h *Handler) AcceptRequest(server, cluster, reply, from string, request []byte) (accepted bool) {
	h.guard(func() { accepted = h.acceptRequest(server, cluster, reply, from, request) })
	return accepted
}

func (h *Handler) acceptRequest(server, cluster, reply, from string, request []byte) bool {
	if !h.isFor(server, cluster) || len(request)+len(from) > maxRequest {
		return false
	}
	able := h.cannotServe() == nil
	h.mu.Lock()
	served := h.served
	h.mu.Unlock()
	for _, s := range served {
		if s.begins(able) {
			defer s.subs.Done()
			return s.accept(&arrival{s.nc, request, from, reply, time.Now()})
		}
	}
	return false
}

// begins reports whether a callout can be put into the queue, which stays open meanwhile.
func (s *subscription) begins(able bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.sub == nil || !able && !s.stays || !s.nc.IsConnected() {
		return false
	}
	s.subs.Add(1)
	return true
}

// accept puts a callout into the queue if there is room.
func (s *subscription) accept(a *arrival) bool {
	if !s.put(s.queue, a) {
		return false
	}
	s.h.metrics.requests.Inc()
	return true
}

// isFor reports whether this handler answers callouts of a server, in contrast to another queue
// group.
func (h *Handler) isFor(server, cluster string) bool {
	only := h.cfg.OnlyFrom
	return len(only) == 0 || slices.Contains(only, server) || cluster != "" && slices.Contains(only, cluster)
}
