package forwarded

import (
	"iter"
	"net/http"
	"slices"
	"strings"
)

// This file reads cookies without net/http, which silently drops a cookie whose value
// contains quotes, backslashes or bytes outside ASCII. Browsers send such cookies.

// singleCookie returns the value of the cookie of this name. ok is false if the request
// contains no such cookie, or more than one.
func singleCookie(r *http.Request, name string) (value string, ok bool) {
	value, n := countCookie(r, name)
	return value, n == 1
}

// HasDuplicateCookie reports whether a request contains more than one cookie of this
// name.
func HasDuplicateCookie(r *http.Request, name string) bool {
	_, n := countCookie(r, name)
	return n > 1
}

// countCookie returns the number of cookies of this name, and the value of the last.
func countCookie(r *http.Request, name string) (last string, n int) {
	for cookie, value := range cookies(r) {
		if cookie == name {
			last = value
			n++
		}
	}
	return last, n
}

// CookieNames returns the names of a request's cookies in their order, without
// duplicates.
func CookieNames(r *http.Request) []string {
	var names []string
	for name := range cookies(r) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// cookies yields the names and values of a request's cookies, in the format of RFC 6265,
// section 5.4. Like net/http it removes quotes around a value.
func cookies(r *http.Request) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, line := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
				if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
					value = value[1 : n-1]
				}
				if !yield(strings.Trim(name, " \t"), value) {
					return
				}
			}
		}
	}
}
