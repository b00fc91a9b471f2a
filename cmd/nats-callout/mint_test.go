package main

import (
	"os"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"github.com/rogpeppe/go-internal/testscript"

	"stamp.example/claim"
)

// mintJWT: mint FILE good|expired|early|claim|changed|creds. The header Session
// has the value "s3cret". ISSUER becomes the account's public key, and SEED the user's
// seed.
func mintJWT(ts *testscript.TestScript, neg bool, args []string) {
	account, err := nkeys.CreateAccount()
	ts.Check(err)
	issuer, err := account.PublicKey()
	ts.Check(err)
	ts.Setenv("ISSUER", issuer)
	pair, err := nkeys.CreateUser()
	ts.Check(err)
	public, err := pair.PublicKey()
	ts.Check(err)
	user := jwt.NewUserClaims(public)
	user.Name = "alice"
	kind := args[1]
	switch kind {
	case "expired":
		user.Expires = time.Now().Add(-time.Hour).Unix()
	case "early":
		user.NotBefore = time.Now().Add(time.Hour).Unix()
	}
	c := &claim.Claim{Headers: []claim.Header{{Name: "Session", Values: []string{"s3cret"}}}}
	token, err := claim.Encode(user, c, account)
	ts.Check(err)
	switch kind {
	case "claim": // which no issuer of ours would write
		generic := jwt.NewGenericClaims(public)
		generic.Data = map[string]any{"type": "user", "version": 2, "headers": map[string]any{"Nats-Msg-Id": "s3cret", "Bad Name": "s3cret"}}
		token, err = generic.Encode(account)
		ts.Check(err)
	case "changed":
		token = token[:len(token)-8] + "AAAAAAAA"
	case "creds":
		seed, err := pair.Seed()
		ts.Check(err)
		text, err := jwt.FormatUserConfig(token, seed)
		ts.Check(err)
		token = string(text)
		ts.Setenv("SEED", string(seed))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token+"\n"), 0o600))
}
