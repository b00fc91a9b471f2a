// Issues a user JWT with a headers claim.
//
//	ACCOUNT_SEED=SA... go run issue.go USER_PUBLIC_KEY
//
// With the seed of a signing key, ISSUER_ACCOUNT=A... is the account's public key.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
)

func main() {
	key, err := nkeys.FromSeed([]byte(os.Getenv("ACCOUNT_SEED")))
	if err != nil {
		log.Fatal(err)
	}
	user := jwt.NewUserClaims(os.Args[1])
	user.Name = "alice"
	user.IssuerAccount = os.Getenv("ISSUER_ACCOUNT")
	token, err := claim.Encode(user, &claim.Claim{
		Headers: []claim.Header{
			{Name: "Session", Values: []string{"0af3c1"}},
			{Name: "Roles", Values: []string{"admin", "ops"}},
			{Name: "X-Tenant", Values: []string{"acme"}, Subjects: []string{"api.>"}},
		},
		Subscribe: []string{"Session"},
	}, key)
	if err != nil {
		log.Fatal(err)
	}
	// The server reads a token like this. An error has all faults of the claim.
	if _, err := claim.FromUserJWT(token, claim.Limits{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}
