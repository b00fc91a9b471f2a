package login

import "net/http"

// frontchannel serves /frontchannel, which the provider loads in a frame to end the browser's
// session (OpenID Connect Front-Channel Logout 1.0, section 3). The request is not signed. So iss
// and sid must be those of the session whose cookie comes with it. Most browsers send no cookie if
// the provider is on another site; then this ends nothing, and back-channel logout is needed.
func (s *source) frontchannel(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'") // the provider frames it, and there is nothing to click
	e, key, ok := s.found(w, r)
	if !ok {
		return
	}
	q := r.URL.Query()
	iss, sid := q["iss"], q["sid"]
	if e == nil || len(iss) != 1 || len(sid) != 1 || e.SID == "" || iss[0] != s.issuerOf(e) || sid[0] != e.SID {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	store, err := s.opened(r.Context())
	if err == nil {
		err = store.end(r.Context(), key)
	}
	if err != nil {
		s.broken(w, "frontchannel", err)
		return
	}
	s.metrics.frontchannel.Inc()
	http.SetCookie(w, forget(s.sessionCookie("", 0)))
	w.WriteHeader(http.StatusNoContent)
}

// issuerOf returns the issuer of a session.
func (s *source) issuerOf(e *entry) string {
	if iss, ok := e.Claims["iss"].(string); ok {
		return iss
	}
	return s.cfg.Issuer
}
