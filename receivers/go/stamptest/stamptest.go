// Package stamptest stamps messages as a server with proofs does, for tests of services that receive them.
//
//	server := stamptest.NewServer()
//	trust, err := stamp.NewTrust(stamp.Options{
//		User:     "X-User",
//		Accounts: map[string][]string{server.Account: {"orders.>"}},
//		Servers:  server.Servers(),
//		Keys:     server.Keys(),
//	})
//	msg := server.Stamp(map[string][]string{"X-User": {"alice"}}, "orders.new", []byte("{}"))
package stamptest

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/internal/maker"
	"stamp.example/receivers/go/internal/wire"
)

// Server stamps messages. Set the fields before it is used.
type Server struct {
	Account string           // of the publisher
	Encrypt []string         // names whose values only the receiver can read
	Sign    bool             // with a signature that anybody can check
	Now     func() time.Time // nil: time.Now

	// What a real server is configured with, as nkeys. NewServer makes all of it. Without a receiver there are signed proofs alone.
	CurveSeed    string // of the server, SX...
	SignSeed     string // of the server, SN...
	Receiver     string // public key of the receiver, X...
	receiverSeed string

	mu      sync.Mutex
	salt    [16]byte
	counter uint32
}

// NewServer makes a server with random keys, and keys of one receiver.
func NewServer() *Server {
	s := &Server{Account: "APP"}
	s.CurveSeed, s.SignSeed = wire.EncodeCurveSeed(random()), wire.EncodeServerSeed(random())
	s.receiverSeed = wire.EncodeCurveSeed(random())
	s.Receiver = publicCurve(s.receiverSeed)
	rand.Read(s.salt[:])
	return s
}

func random() (seed [32]byte) {
	rand.Read(seed[:]) // it never fails
	return seed
}

// Servers returns what a receiver's trust has in Servers.
func (s *Server) Servers() []string {
	servers := []string{publicServer(s.SignSeed)}
	if s.Receiver != "" {
		servers = append(servers, publicCurve(s.CurveSeed))
	}
	return servers
}

// Keys returns what a receiver's trust has in Keys. There is one if NewServer made it.
func (s *Server) Keys() []string {
	if s.receiverSeed == "" {
		return nil
	}
	return []string{s.receiverSeed}
}

// Stamp returns a message as a service gets it: with the stamped headers, provenance and a proof.
func (s *Server) Stamp(headers map[string][]string, subject string, payload []byte) stamp.Message {
	s.mu.Lock()
	s.counter++
	in := Input{
		CurveSeed: s.CurveSeed, SignSeed: s.SignSeed, Receiver: s.Receiver, Salt: s.salt, Counter: s.counter,
		Account: s.Account, Subject: subject, Encrypt: s.Encrypt, Sign: s.Sign, Payload: payload,
	}
	s.mu.Unlock()
	now := s.Now
	if now == nil {
		now = time.Now
	}
	in.Time = now().UTC().Format(TimeLayout)
	for name, values := range headers {
		for _, v := range values {
			in.Headers = append(in.Headers, stamp.Line{name, v})
		}
	}
	lines, err := Make(in)
	if err != nil {
		panic("stamptest: " + err.Error())
	}
	return stamp.Message{Header: stamp.Lines(lines), Payload: payload, Subject: subject}
}

// TimeLayout is the form of Stamp-Time.
const TimeLayout = "2006-01-02T15:04:05.000000000Z"

// Input is all that a proof is made of. The same input always gives the same proof.
type Input struct {
	CurveSeed string // of the server, SX...
	SignSeed  string // of the server, SN...
	Receiver  string // public key of the receiver, X...; empty: none
	Salt      [16]byte
	Counter   uint32
	Account   string
	Subject   string
	Time      string       // in TimeLayout
	Headers   []stamp.Line // as they are stamped
	Encrypt   []string     // names whose values only the receiver can read
	Sign      bool
	Payload   []byte
}

// Make returns the lines of a stamped message: provenance, the headers, and the proof. Values that are encrypted are so in the
// lines.
func Make(in Input) ([]stamp.Line, error) {
	fields, anySealed, err := in.fields()
	if err != nil {
		return nil, err
	}
	var kind byte
	switch receiver := in.Receiver != ""; {
	case anySealed && !receiver:
		return nil, fmt.Errorf("there are values to encrypt, and no receiver")
	case in.Sign && anySealed:
		kind = wire.KindBoth
	case in.Sign:
		kind = wire.KindSigned
	case receiver:
		kind = wire.KindReceiver
	default:
		return nil, fmt.Errorf("the proof is neither for a receiver nor signed")
	}
	all := append([]maker.Field{
		{Name: wire.Account, Values: []string{in.Account}, Bare: true},
		{Name: wire.Subject, Values: []string{in.Subject}, Bare: true},
		{Name: wire.Time, Values: []string{in.Time}, Bare: true},
	}, fields...)
	proof, err := maker.Make(maker.Input{
		Kind: kind, CurveSeed: in.CurveSeed, SignSeed: in.SignSeed, Receiver: in.Receiver, Salt: in.Salt, Counter: in.Counter,
		Fields: all, Payload: in.Payload,
	})
	if err != nil {
		return nil, err
	}
	if wire.TextLen(len(proof)) > wire.MaxText {
		return nil, fmt.Errorf("the proof has more than %d characters", wire.MaxText)
	}
	return in.lines(all, string(wire.AppendText(nil, proof))), nil
}

// fields returns the stamped headers in the order of a proof, and whether any is to be encrypted.
func (in *Input) fields() (fields []maker.Field, anySealed bool, err error) {
	entries := map[wire.Entry]string{}
	for _, line := range in.Headers {
		folded := wire.Fold(line[0])
		i := slices.IndexFunc(fields, func(f maker.Field) bool { return wire.Fold(f.Name) == folded })
		entry := wire.EntryOf(folded)
		switch {
		case !wire.IsToken(line[0]) || strings.HasPrefix(folded, "stamp-"):
			return nil, false, fmt.Errorf("a header named %q cannot be stamped", line[0])
		case i < 0 && entries[entry] != "":
			return nil, false, fmt.Errorf("a proof cannot have the names %q and %q at once", entries[entry], line[0])
		case i < 0:
			entries[entry] = line[0]
			sealed := slices.ContainsFunc(in.Encrypt, func(name string) bool { return wire.Fold(name) == folded })
			fields = append(fields, maker.Field{Name: line[0], Values: []string{line[1]}, Sealed: sealed})
			anySealed = anySealed || sealed
		case fields[i].Name != line[0]:
			return nil, false, fmt.Errorf("the headers %q and %q are the same", fields[i].Name, line[0])
		default:
			fields[i].Values = append(fields[i].Values, line[1])
		}
	}
	slices.SortFunc(fields, func(a, b maker.Field) int { return strings.Compare(wire.Fold(a.Name), wire.Fold(b.Name)) })
	return fields, anySealed, nil
}

// lines returns the lines of the message: provenance, the headers in the order of Input, the proof.
func (in *Input) lines(all []maker.Field, proof string) (lines []stamp.Line) {
	byName := map[string][]string{}
	for _, f := range all {
		byName[f.Name] = f.Values
	}
	for _, f := range all[:len(wire.Provenance)] {
		lines = append(lines, stamp.Line{f.Name, f.Values[0]})
	}
	for _, line := range in.Headers {
		name := line[0]
		lines = append(lines, stamp.Line{name, byName[name][0]})
		byName[name] = byName[name][1:]
	}
	return append(lines, stamp.Line{wire.Proof, proof})
}

func publicOf(private *ecdh.PrivateKey) wire.Key { return wire.Key(private.PublicKey().Bytes()) }

func publicCurve(seed string) string {
	private, err := wire.ParseCurveSeed(seed)
	if err != nil {
		panic("stamptest: the seed of a curve key: " + err.Error())
	}
	return wire.EncodeCurve(publicOf(private))
}

func publicServer(seed string) string {
	private, err := wire.ParseServerSeed(seed)
	if err != nil {
		panic("stamptest: the seed of a server: " + err.Error())
	}
	return wire.EncodeServer(wire.Key(private.Public().(ed25519.PublicKey)))
}
