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
		a := &arrival{s.nc, request, from, reply, time.Now()}
		if s.hold(a) {
			return true
		}
		if s.begins(able) {
			defer s.subs.Done()
			return s.accept(a)
		}
	}
	return false
}

// A handler that waits for the others is no member of the queue group yet, and its server may not know the
// handlers of its peers yet. A callout that went to the group then would be answered by nobody. So the handler
// holds the callouts of its server until it knows who can judge.

// hold keeps a callout, and returns whether it has.
func (s *subscription) hold(a *arrival) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holds || s.ending || !s.nc.IsConnected() || len(s.held) >= s.h.cfg.Queue {
		return false
	}
	if s.waiting.Add(a.size()) > maxWaiting {
		s.waiting.Add(-a.size())
		return false
	}
	s.h.metrics.requests.Inc()
	s.subs.Add(1)
	s.held = append(s.held, a)
	return true
}

// release ends hold, and answers the callouts that were held. If only a peer can judge, their connections are
// closed, so that the clients come again and the group is asked. The handler cannot give them to the group:
// its user must not send requests.
func (s *subscription) release() {
	s.mu.Lock()
	held := s.held
	s.holds, s.held = false, nil
	s.mu.Unlock()
	for _, a := range held {
		s.waiting.Add(-a.size())
		if !s.put(s.queue, a) && !s.put(s.busy, a) {
			s.h.logged.Warn("overload", "callouts are dropped, because too many wait")
		}
		s.subs.Done()
	}
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
