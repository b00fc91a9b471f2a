package webserver

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// bodyTime is how long the body of a request may take after its header. Forms are small.
const bodyTime = 2 * time.Second

// ReadBody reads the body of a request, so that no page waits for its client. It reports whether the
// request can be worked on; otherwise it has answered with 408 or 413.
//
// takesBody says whether a page reads the body. If not, the body is not read, and the request has
// none from then on.
func ReadBody(w http.ResponseWriter, r *http.Request, takesBody bool) bool {
	if r.ContentLength == 0 {
		return true
	}
	if !takesBody {
		dropBody(w, r)
		return true
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(bodyTime)) // fails for a test's writer, which has no deadline
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		dropBody(w, r)
		Fail(w, http.StatusRequestEntityTooLarge, "the body of the request is too long")
		return false
	case err != nil:
		dropBody(w, r)
		Fail(w, http.StatusRequestTimeout, "the body of the request did not arrive in time")
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}

// dropBody makes the answer the last one of its connection, because the next request would begin with
// the unread bytes of the body. http.Server does not wait for these bytes either.
func dropBody(w http.ResponseWriter, r *http.Request) {
	r.Body = http.NoBody
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
}

// Fail answers with a status and a fixed text. The text must hold nothing of the request.
func Fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
