package forwarded

import (
	"iter"
	"net/http"
	"slices"
	"strings"
)

// OnlyCookie returns the cookie, unless there is none or more than one of that
// name.
//
// The cookies are read here, because net/http leaves out those whose value has quotes, backslashes or bytes beyond ASCII,
// silently, and browsers send them.
func OnlyCookie(r *http.Request, name string) (string, bool) {
	value, n := countCookie(r, name)
	return value, n == 1
}

// HasTwice tells whether a request holds a cookie more than once.
func HasTwice(r *http.Request, name string) bool {
	_, n := countCookie(r, name)
	return n > 1
}

// countCookie returns how often a request holds a cookie, and its last value.
func countCookie(r *http.Request, name string) (last string, n int) {
	for cookie, value := range cookies(r) {
		if cookie == name {
			last = value
			n++
		}
	}
	return last, n
}

// CookieNames are the names of the cookies of a request, in their order, each once.
func CookieNames(r *http.Request) []string {
	var names []string
	for name := range cookies(r) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// cookies are the names and values of the cookies of a request, as RFC 6265, section 5.4 puts them together.
// As by net/http, quotes around a value are no part of it.
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
