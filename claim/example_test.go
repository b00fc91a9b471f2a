package claim_test

import (
	"fmt"
	"log"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
)

func ExampleEncode() {
	account, err := nkeys.CreateAccount() // yours: nkeys.FromSeed
	if err != nil {
		log.Fatal(err)
	}
	userKey, err := nkeys.CreateUser() // the user's
	if err != nil {
		log.Fatal(err)
	}
	public, err := userKey.PublicKey()
	if err != nil {
		log.Fatal(err)
	}

	user := jwt.NewUserClaims(public)
	user.Name = "alice"
	user.Expires = time.Now().Add(15 * time.Minute).Unix()
	token, err := claim.Encode(user, &claim.Claim{
		Headers: []claim.Header{
			{Name: "Session", Values: []string{"0af3c1"}},
			{Name: "Roles", Values: []string{"admin", "ops"}},
			{Name: "X-Tenant", Values: []string{"acme"}, Subjects: []string{"api.>"}},
		},
		Subscribe: []string{"Session"},
	}, account)
	if err != nil {
		log.Fatal(err)
	}

	c, err := claim.FromUserJWT(token, claim.Limits{}) // as the server does
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range c.Headers {
		fmt.Println(h.Name, h.Values, h.Subjects)
	}
	// Output:
	// Session [0af3c1] []
	// Roles [admin ops] []
	// X-Tenant [acme] [api.>]
}

func ExampleClaim_Check() {
	c := claim.Claim{Headers: []claim.Header{
		{Name: "Nats-Msg-Id", Values: []string{"1"}},
		{Name: "X-User", Values: []string{"alice"}},
		{Name: "x_user", Values: nil},
	}}
	fmt.Println(c.Check(claim.Limits{}))
	// Output:
	// header "Nats-Msg-Id": name is reserved: servers or clients use names that begin with nats-; header "x_user": duplicate name (case is ignored, and '-', '_' and '.' are one character); the claim also has "X-User"; header "x_user": expected at least one value; found an empty list
}
