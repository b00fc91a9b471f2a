package main

import (
	"fmt"
	"os"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
)

// Subject and header of upstream's auth callout (ADR-26).
const (
	calloutSubject = "$SYS.REQ.USER.AUTH"
	xkeyHeader     = "Nats-Server-Xkey"
)

// serveSmallest is the least that a handler can do: it knows one user, and answers
// one callout after the other.
func serveSmallest(url string) error {
	issuer, err := nkeys.FromSeed([]byte(os.Getenv("ISSUER")))
	if err != nil {
		return err
	}
	xkey, err := nkeys.FromCurveSeed([]byte(os.Getenv("XKEY")))
	if err != nil {
		return err
	}
	nc, err := nats.Connect(url, nats.UserInfo("b", password))
	if err != nil {
		return err
	}
	_, err = nc.QueueSubscribe(calloutSubject, "callout", func(m *nats.Msg) {
		answer, err := answerSmallest(m, issuer, xkey)
		if err == nil {
			err = m.Respond(answer)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "smallest handler:", err)
		}
	})
	if err != nil {
		return err
	}
	select {} // until it is killed
}

func answerSmallest(m *nats.Msg, issuer, xkey nkeys.KeyPair) ([]byte, error) {
	from := m.Header.Get(xkeyHeader)
	data, err := xkey.Open(m.Data, from)
	if err != nil {
		return nil, err
	}
	request, err := jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil {
		return nil, err
	}
	user := jwt.NewUserClaims(request.UserNkey)
	user.Name, user.Audience, user.Expires = "user", "APP", time.Now().Add(15*time.Minute).Unix()
	user.Pub.Allow.Add("api.>")
	user.Sub.Allow.Add("_INBOX.user.>")
	response := jwt.NewAuthorizationResponseClaims(request.UserNkey)
	response.Audience = request.Server.ID
	response.Jwt, err = claim.Encode(user, &claim.Claim{Headers: []claim.Header{
		{Name: "Session", Values: []string{request.ConnectOptions.Token}}, {Name: "X-User", Values: []string{"user"}},
	}}, issuer)
	if err != nil {
		return nil, err
	}
	token, err := response.Encode(issuer)
	if err != nil {
		return nil, err
	}
	return xkey.Seal([]byte(token), from)
}
