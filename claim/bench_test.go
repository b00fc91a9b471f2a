package claim

import (
	"testing"

	"github.com/nats-io/jwt/v2"
)

// BenchmarkFromUserJWT measures what the claim adds to an authentication. Compare
// it with BenchmarkDecodeUserClaims, which the server needs without a claim too.
func BenchmarkFromUserJWT(b *testing.B) {
	for name, c := range benchClaims() {
		b.Run(name, func(b *testing.B) {
			token := encode(b, newUser(b), c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := FromUserJWT(token, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeUserClaims decodes the same tokens and verifies their
// signatures, as the server does.
func BenchmarkDecodeUserClaims(b *testing.B) {
	for name, c := range benchClaims() {
		b.Run(name, func(b *testing.B) {
			token := encode(b, newUser(b), c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jwt.DecodeUserClaims(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchClaims() map[string]*Claim {
	return map[string]*Claim{
		"none": nil,
		"one":  {Headers: []Header{{Name: "Session", Values: []string{"0af3b1c2d4e5f60718293a4b5c6d7e8f"}}}},
		"four": {
			Headers: []Header{
				{Name: "Session", Values: []string{"0af3b1c2d4e5f60718293a4b5c6d7e8f"}},
				{Name: "X-User", Values: []string{"alice@example.com"}},
				{Name: "Roles", Values: []string{"admin", "ops"}},
				{Name: "X-Tenant", Values: []string{"acme"}, Subjects: []string{"api.>"}},
			},
			Subscribe: []string{"*"},
		},
	}
}
