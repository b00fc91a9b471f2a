package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/server/claim"
)

// Subject and header of upstream's auth callout (ADR-26).
const (
	calloutSubject = "$SYS.REQ.USER.AUTH"
	xkeyHeader     = "Nats-Server-Xkey"
)

// callout tells the server who a connection is: it asks the web server whose
// session the cookie stands for.
type callout struct {
	keys       *keys
	sessionURL string
	say        sayer
}

var (
	errNoCookie  = errors.New("no session cookie")
	errNoSession = errors.New("no such session")
)

// serve answers on nc until it is closed.
func (c *callout) serve(nc *nats.Conn) error {
	_, err := nc.QueueSubscribe(calloutSubject, "callout", func(m *nats.Msg) {
		answer, err := c.answer(m.Header.Get(xkeyHeader), m.Data)
		if err == nil {
			err = m.Respond(answer)
		}
		if err != nil { // the server gives up by itself, and refuses the connection
			c.say("callout", "cannot answer: %v", err)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", calloutSubject, err)
	}
	return nc.Flush()
}

// answer turns the server's encrypted request into an encrypted response.
func (c *callout) answer(serverXKey string, data []byte) ([]byte, error) {
	data, err := c.keys.xkey.Open(data, serverXKey)
	if err != nil {
		return nil, fmt.Errorf("decrypt request: %w", err)
	}
	request, err := jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil {
		return nil, fmt.Errorf("decode request: %w", err)
	}
	response := jwt.NewAuthorizationResponseClaims(request.UserNkey)
	response.Audience = request.Server.ID
	if response.Jwt, err = c.judge(request); err != nil {
		c.say("callout", "refuses: %v", err)
		response.Error = err.Error()
	}
	token, err := response.Encode(c.keys.issuer)
	if err != nil {
		return nil, fmt.Errorf("encode response: %w", err)
	}
	return c.keys.xkey.Seal([]byte(token), serverXKey)
}

// judge returns the user JWT of a connection, or why there is none.
func (c *callout) judge(request *jwt.AuthorizationRequestClaims) (string, error) {
	id := request.ConnectOptions.Token // token_cookie puts the cookie there
	if id == "" {
		return "", errNoCookie
	}
	user, err := c.whose(id)
	if err != nil {
		return "", err
	}
	token, err := userJWT(request.UserNkey, user, id, c.keys.issuer)
	if err != nil {
		return "", err
	}
	c.say("callout", "%s is %s: the server shall stamp Session and X-User", mask(id), user)
	return token, nil
}

// whose asks the web server. The server's patience, authorization.timeout in its
// configuration, is longer than this.
func (c *callout) whose(id string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.sessionURL, nil)
	if err != nil {
		return "", fmt.Errorf("ask for the session: %w", err)
	}
	r.AddCookie(&http.Cookie{Name: cookieName, Value: id})
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("ask for the session: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return "", errNoSession
	default:
		return "", fmt.Errorf("ask for the session: %s", answer.Status)
	}
	var v visitor
	if err := json.NewDecoder(answer.Body).Decode(&v); err != nil {
		return "", fmt.Errorf("decode session: %w", err)
	}
	if !userName.MatchString(v.User) {
		return "", errors.New("session has no user")
	}
	return v.User, nil
}

// userJWT is what a visitor gets: account APP, a few subjects, and his headers.
func userJWT(subject, user, id string, issuer nkeys.KeyPair) (string, error) {
	u := jwt.NewUserClaims(subject)
	u.Name = user
	u.Audience = "APP"
	u.Expires = time.Now().Add(lifetime).Unix()
	u.AllowedConnectionTypes.Add(jwt.ConnectionTypeWebsocket)
	u.Pub.Allow.Add("demo.>")
	u.Sub.Allow.Add(inboxPrefix(user) + ".>")
	return claim.Encode(u, &claim.Claim{Headers: []claim.Header{
		{Name: "Session", Values: []string{id}},
		{Name: "X-User", Values: []string{user}},
	}}, issuer)
}

// inboxPrefix keeps a visitor from reading the answers that others get.
func inboxPrefix(user string) string { return "_INBOX." + user }
