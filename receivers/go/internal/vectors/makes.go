package vectors

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/internal/wire"
	"stamp.example/receivers/go/stamptest"
)

// smallOrder is the point 0, with which every secret is all zeros.
var smallOrder = wire.EncodeCurve(wire.Key{})

// MakeCase is a message to make.
type MakeCase struct {
	Name      string       `json:"name"`
	CurveSeed string       `json:"curve_seed,omitempty"` // of the server
	SignSeed  string       `json:"sign_seed,omitempty"`  // of the server
	Receiver  string       `json:"receiver,omitempty"`   // public key
	Salt      []byte       `json:"salt"`
	Counter   uint32       `json:"counter"`
	Account   string       `json:"account"`
	Subject   string       `json:"subject"`
	Time      string       `json:"time"`
	Headers   []stamp.Line `json:"headers"`
	Encrypt   []string     `json:"encrypt,omitempty"`
	Sign      bool         `json:"sign,omitempty"`
	Payload   []byte       `json:"payload"`
	Lines     []stamp.Line `json:"lines"` // provenance, the headers, the proof
	Trust     Trust        `json:"trust"` // with which the message is judged to be ok
	Forward   string       `json:"forward"`
}

// Makes returns messages to make.
func Makes() (cases []MakeCase) {
	random := rand.New(rand.NewPCG(2026, 3))
	add := func(name string, in stamptest.Input) {
		lines, err := stamptest.Make(in)
		if err != nil {
			panic(name + ": " + err.Error())
		}
		c := MakeCase{
			Name: name, CurveSeed: in.CurveSeed, SignSeed: in.SignSeed, Receiver: in.Receiver, Salt: in.Salt[:], Counter: in.Counter,
			Account: in.Account, Subject: in.Subject, Time: in.Time, Headers: in.Headers, Encrypt: in.Encrypt, Sign: in.Sign, Payload: in.Payload, Lines: lines,
		}
		c.Trust = Trust{User: in.Headers[0][0], Accounts: map[string][]string{"*": {">"}}, Servers: []string{curve(serverA), server(signA)}, Keys: []string{curveSeed(app)}}
		c.Forward = forwardOf(name, c.Trust, lines, in.Payload)
		cases = append(cases, c)
	}
	for _, kind := range kinds {
		add(kind, input(kind))
		in := input(kind)
		in.Payload = nil
		add(kind+": no payload", in)
		in = input(kind)
		in.Counter, in.Salt = 1<<32-1, [16]byte{}
		add(kind+": the last counter, salt of zeros", in)
		in = input(kind)
		in.Headers = []stamp.Line{{"X_User", "é"}, {"x.other", ""}, {"X-Roles", ""}, {"X-Roles", ""}, {"Session", ""}}
		add(kind+": empty values", in)
		in = input(kind)
		in.Headers = slices.Clone(in.Headers)
		slices.Reverse(in.Headers[1:])
		in.Encrypt = slices.Concat(in.Encrypt, in.Encrypt) // nothing, or twice the same
		add(kind+": headers in another order", in)
	}
	in := input("both")
	in.Headers = in.Headers[:4] // no Session
	add("signed, since no value is to be encrypted", in)
	in = input("signed")
	in.Receiver, in.CurveSeed = "", ""
	add("signed, and no receiver", in)
	for i := range 20 {
		in := input(kinds[i%len(kinds)])
		text := func(n int) string {
			const runes = "abcXYZ019 -_.é✓𝄞,:;\"\\"
			all := []rune(runes)
			var b strings.Builder
			for range random.IntN(n + 1) {
				b.WriteRune(all[random.IntN(len(all))])
			}
			return b.String()
		}
		in.Headers = []stamp.Line{{"X-User", "u" + text(20)}}
		for n := range random.IntN(12) {
			in.Headers = append(in.Headers, stamp.Line{fmt.Sprintf("%c-%d", "HXZa!~"[random.IntN(6)], n/3), text(40)})
		}
		in.Headers = onlyOneSpelling(in.Headers)
		in.Headers = append(in.Headers, stamp.Line{"Session", text(80)})
		for n := range in.Salt {
			in.Salt[n] = byte(random.Uint32())
		}
		in.Counter = random.Uint32()
		in.Payload = make([]byte, random.IntN(300))
		for n := range in.Payload {
			in.Payload[n] = byte(random.Uint32())
		}
		add(fmt.Sprintf("random %d", i), in)
	}
	return cases
}

// onlyOneSpelling leaves out the lines whose name is there in another spelling.
func onlyOneSpelling(lines []stamp.Line) []stamp.Line {
	spelling := map[string]string{}
	return slices.DeleteFunc(lines, func(l stamp.Line) bool {
		folded := wire.Fold(l[0])
		if spelling[folded] == "" {
			spelling[folded] = l[0]
		}
		return spelling[folded] != l[0]
	})
}
