package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"stamp.example/claim/field"
)

const (
	serviceSubject = "demo.whoami"
	tokenSubject   = "demo.token" // where the access token is stamped too
)

// seen is what the service answers: whom it believes to serve, and the headers
// that it received, secrets masked.
type seen struct {
	User    string              `json:"user"` // empty: anonymous
	Headers map[string][]string `json:"headers"`
}

// watching is the payload of a page that asks again and again, to show a refresh. The service
// prints such a message only if it is another one than the last.
const watching = "watch"

// service answers on nc until it is closed.
func service(nc *nats.Conn, say sayer) error {
	var last string // in one goroutine: the connection's, which calls the handler
	handler := micro.HandlerFunc(func(r micro.Request) {
		s := see(nats.Header(r.Headers()))
		if line := s.String(); string(r.Data()) != watching || line != last {
			say("service", "receives  %s", line)
			last = line
		}
		if err := r.RespondJSON(s); err != nil {
			say("service", "cannot answer: %v", err)
		}
	})
	added, err := micro.AddService(nc, micro.Config{
		Name: "whoami", Version: "1.0.0", Description: "says what it received",
		Endpoint: &micro.EndpointConfig{Subject: serviceSubject, Handler: handler},
	})
	if err == nil {
		err = added.AddEndpoint("token", handler, micro.WithEndpointSubject(tokenSubject))
	}
	if err != nil {
		return fmt.Errorf("add service whoami: %w", err)
	}
	return nc.Flush()
}

func see(h nats.Header) seen {
	s := seen{User: stampedUser(h), Headers: map[string][]string{}}
	for name, values := range h {
		for _, v := range values {
			switch {
			case field.EqualFolded(foldedSession, []byte(name)):
				v = mask(v)
			case strings.HasPrefix(v, bearer):
				v = bearer + mask(v[len(bearer):])
			}
			s.Headers[name] = append(s.Headers[name], v)
		}
	}
	return s
}

const bearer = "Bearer "

var foldedSession = field.Fold("Session")

// stampedUser is what every service behind the server does: unless each of the two stamps is there exactly once, the message is
// anonymous.
func stampedUser(h nats.Header) string {
	if len(h["Session"]) != 1 || len(h["X-User"]) != 1 {
		return ""
	}
	return h["X-User"][0]
}

// String shows s in one line, headers in the order of their names.
func (s seen) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		for _, v := range s.Headers[name] {
			parts = append(parts, fmt.Sprintf("%s: %s", name, v))
		}
	}
	text := strings.Join(parts, "   ")
	if text == "" {
		text = "no header"
	}
	if s.User == "" {
		text += "   (anonymous)"
	}
	return text
}
