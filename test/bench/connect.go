package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
)

// connectArm is a connection in operator mode, with the user JWT as it is or with
// a headers claim of four headers, which stock ignores.
type connectArm struct {
	name, server string
	claim        bool
}

var connectArms = []connectArm{
	{"stock", stock, false},
	{"stock again", again, false},
	{"ours", ours, false},
	{"stock, JWT has a claim", stock, true},
	{"ours, JWT has a claim", ours, true},
}

var connectPairs = []pair{
	{"noise: stock / stock", "stock again", "stock"},
	{"no claim: ours / stock", "ours", "stock"},
	{"the same claim: ours / stock", "ours, JWT has a claim", "stock, JWT has a claim"},
	{"ours: claim / no claim", "ours, JWT has a claim", "ours"},
}

// identity is an operator with one account and a user of it.
type identity struct {
	conf         string
	user         nkeys.KeyPair
	plain, claim string // the user's JWTs
}

func newIdentity() (*identity, error) {
	operator, err := nkeys.CreateOperator()
	if err != nil {
		return nil, err
	}
	account, err := nkeys.CreateAccount()
	if err != nil {
		return nil, err
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	var public [3]string
	for i, kp := range []nkeys.KeyPair{operator, account, user} {
		if public[i], err = kp.PublicKey(); err != nil {
			return nil, err
		}
	}
	operatorJWT, err := jwt.NewOperatorClaims(public[0]).Encode(operator)
	if err != nil {
		return nil, err
	}
	accountJWT, err := jwt.NewAccountClaims(public[1]).Encode(operator)
	if err != nil {
		return nil, err
	}
	id := &identity{user: user}
	id.conf = fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }\n", operatorJWT, public[1], accountJWT)
	uc := jwt.NewUserClaims(public[2])
	if id.plain, err = claim.Encode(uc, nil, account); err != nil {
		return nil, err
	}
	id.claim, err = claim.Encode(uc, claimOf(four), account)
	return id, err
}

func (id *identity) token(a connectArm) string {
	if a.claim {
		return id.claim
	}
	return id.plain
}

func claimOf(headers []header) *claim.Claim {
	c := &claim.Claim{}
	for _, h := range headers {
		c.Headers = append(c.Headers, claim.Header{Name: h.name, Values: []string{h.value}})
	}
	return c
}

// roundsPerServer is small: servers are started anew, since their memory layout affects the result.
const roundsPerServer = 5

func (r *runner) connectRounds(ctx context.Context) error {
	id, err := newIdentity()
	if err != nil {
		return fmt.Errorf("make an operator: %w", err)
	}
	servers := threeServers(func(bool) string { return id.conf })
	for done := 0; done < r.plan.connectRounds; done += roundsPerServer {
		n := min(roundsPerServer, r.plan.connectRounds-done)
		err := r.withServers(ctx, servers, func(procs map[string]*process) error {
			return r.res.connect.rounds(n, connectNames(), func(name string) (float64, error) {
				a := connectArms[slices.Index(connectNames(), name)]
				p := procs[a.server]
				return measureConnects(p.settle, r.plan.connects, func(int) (*client, error) { return id.connect(p.addr, id.token(a)) })
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// connectNames are those of connectArms.
func connectNames() []string {
	var names []string
	for _, a := range connectArms {
		names = append(names, a.name)
	}
	return names
}

// measureConnects is the CPU time, in ns, of one connection that is authenticated
// and closed.
func measureConnects(cpu func() (time.Duration, error), n int, connect func(i int) (*client, error)) (float64, error) {
	before, err := cpu()
	if err != nil {
		return 0, err
	}
	for i := range n {
		c, err := connect(i)
		if err != nil {
			return 0, err
		}
		c.Close()
	}
	after, err := cpu()
	return float64(after-before) / float64(n), err
}

func (id *identity) connect(addr, token string) (*client, error) {
	return dial(addr, connectOptions{JWT: token}, func(nonce string, o *connectOptions) error {
		sig, err := id.user.Sign([]byte(nonce))
		o.Sig = base64.RawURLEncoding.EncodeToString(sig)
		return err
	})
}
