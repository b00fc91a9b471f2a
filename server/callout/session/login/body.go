package login

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// bodyTime is how long the body of a request may take, after its header. Forms of the pages are small.
const bodyTime = 2 * time.Second

// whole reads the body of a request before anything is done about it, so that no page waits for its client. It tells
// whether the request goes on; otherwise that was answered. A body that no page takes is not waited for.
func whole(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) bool {
	if r.ContentLength == 0 {
		return true
	}
	if _, pattern := mux.Handler(r); !strings.HasPrefix(pattern, http.MethodPost+" ") {
		leaveBody(w, r)
		return true
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(bodyTime)) // a test's has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		leaveBody(w, r)
		fail(w, http.StatusRequestEntityTooLarge, "the body of the request is too long")
		return false
	case err != nil:
		leaveBody(w, r)
		fail(w, http.StatusRequestTimeout, "the body of the request is not there")
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}

// leaveBody has the answer be the last one of its connection, since what is left of the body would be read as the next
// request. http.Server does not wait for it either.
func leaveBody(w http.ResponseWriter, r *http.Request) {
	r.Body = http.NoBody
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
}
