package hook

import (
	"testing"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
)

// BenchmarkAttach measures the hook's share of an authentication, which takes about half a millisecond.
func BenchmarkAttach(b *testing.B) {
	s, err := natsserver.NewServer(&natsserver.Options{ServerName: "inert", NoLog: true, NoSigs: true})
	if err != nil {
		b.Fatal(err)
	}
	account, err := nkeys.CreateAccount()
	if err != nil {
		b.Fatal(err)
	}
	uc := jwt.NewUserClaims("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4")
	plain, err := uc.Encode(account)
	if err != nil {
		b.Fatal(err)
	}
	four := &claim.Claim{}
	for _, name := range []string{"Session", "X-User", "Roles", "Authorization"} {
		four.Headers = append(four.Headers, claim.Header{Name: name, Values: []string{"0123456789abcdef0123456789abcdef"}})
	}
	claimed, err := claim.Encode(uc, four, account)
	if err != nil {
		b.Fatal(err)
	}
	for _, bm := range []struct {
		name string
		info *natsserver.AttachInfo
	}{
		{"configured", &natsserver.AttachInfo{User: "u"}},
		{"JWT", &natsserver.AttachInfo{UserJWT: plain, UserClaims: uc}},
		{"JWT with a claim", &natsserver.AttachInfo{UserJWT: claimed, UserClaims: uc}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			h := New()
			bm.info.Server, bm.info.Host, bm.info.Account = s, "127.0.0.1", "A"
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Attach(bm.info); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
