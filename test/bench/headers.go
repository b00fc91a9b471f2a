package main

import (
	"fmt"
	"strings"
)

// header is one line of a header block. The values are made up.
type header struct{ name, value string }

var (
	one = []header{
		{"Session", "0af3651916cd43dd8448eb211c80319c"},
	}
	// four is what a service behind a login needs, with an opaque bearer token of usual length. The names are in the order in
	// which the server stamps those of a configuration.
	four = []header{
		{"Authorization", "Bearer " + strings.Repeat("b7ad6b7169203331", 6)},
		{"Roles", "reader,writer"},
		{"Session", "0af3651916cd43dd8448eb211c80319c"},
		{"X-User", "u-48151623"},
	}
	// own are further headers, which a client sends.
	own = []header{
		{"Content-Type", "application/json"},
		{"X-Request-Id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
	}
)

// block is the header block of NATS (ADR-4) with these lines, or nothing.
func block(headers []header) []byte {
	if len(headers) == 0 {
		return nil
	}
	return append([]byte("NATS/1.0\r\n"), linesOf(headers)...)
}

// linesOf are the headers' lines, and the blank one.
func linesOf(headers []header) []byte {
	var b []byte
	for _, h := range headers {
		b = fmt.Appendf(b, "%s: %s\r\n", h.name, h.value)
	}
	return append(b, "\r\n"...)
}

// confHeaders is a user's `headers` field.
func confHeaders(headers []header) string {
	var b strings.Builder
	for _, h := range headers {
		fmt.Fprintf(&b, "%q: %q, ", h.name, h.value)
	}
	return "headers: {" + b.String() + "}"
}

// message is what a client sends to publish size bytes with these headers.
func message(size int, headers []header) []byte {
	return encode("PUB "+subject, size, block(headers))
}

// delivered is what a subscriber with sid 1 gets of that message.
func delivered(size int, headers []header) []byte {
	return encode("MSG "+subject+" 1", size, block(headers))
}

func encode(verb string, size int, hdr []byte) []byte {
	return encodeBody(verb, hdr, []byte(strings.Repeat("x", size)))
}

func encodeBody(verb string, hdr, body []byte) []byte {
	var b []byte
	if hdr == nil {
		b = fmt.Appendf(b, "%s %d\r\n", verb, len(body))
	} else {
		b = fmt.Appendf(b, "H%s %d %d\r\n", verb, len(hdr), len(hdr)+len(body))
	}
	b = append(b, hdr...)
	b = append(b, body...)
	return append(b, "\r\n"...)
}
