package main

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nkeys"
)

// Processes of our server in the studies of proofs.
const (
	unproven      = "provenance"
	unprovenAgain = "provenance again"
	macServer     = "MAC"
	encryptServer = "MAC, two values encrypted"
	signServer    = "signed"
)

// proofFile is the key file in the folder of each server.
const proofFile = "proof.nk"

// proofKeys are the seeds of a server, and the public key of a receiver.
type proofKeys struct {
	seeds, receiver string
	err             error
}

var theProofKeys = sync.OnceValue(func() (k proofKeys) {
	for _, prefix := range []nkeys.PrefixByte{nkeys.PrefixByteCurve, nkeys.PrefixByteServer, nkeys.PrefixByteCurve} {
		kp, err := nkeys.CreatePair(prefix)
		if err != nil {
			return proofKeys{err: err}
		}
		seed, err := kp.Seed()
		if err == nil {
			k.receiver, err = kp.PublicKey() // the last one's
		}
		if err != nil {
			return proofKeys{err: err}
		}
		if !strings.HasPrefix(k.seeds, "SX") || prefix != nkeys.PrefixByteCurve {
			k.seeds += string(seed) + "\n"
		}
	}
	return k
})

// encryptedNames are two of four.
var encryptedNames = []string{"Authorization", "Session"}

func proofServers(names ...string) []server {
	block := func(fields string) string {
		return fmt.Sprintf("headers { proof { key_file: %q, %s } }\n", proofFile, fields)
	}
	receivers := fmt.Sprintf("receivers: {\"*\": %q}", theProofKeys().receiver)
	confs := map[string]string{
		unproven: "headers { provenance: true }\n", unprovenAgain: "headers { provenance: true }\n",
		macServer:     block(receivers),
		encryptServer: block(fmt.Sprintf("%s, encrypt: [%s]", receivers, strings.Join(encryptedNames, ", "))),
		signServer:    block("sign: [\">\"]"),
	}
	var all []server
	for _, name := range names {
		all = append(all, server{name, confs[name] + usersConf(true)})
	}
	return all
}

// provenArm is what a server of these studies delivers. What is encrypted, the time and the proof differ from message to message.
func provenArm(name string) arm {
	a := arm{name: name, server: name, user: fourUser}
	anything := func(length int) string { return strings.Repeat(string(rune(anyByte)), length) }
	encoded := base64.RawURLEncoding.EncodedLen
	for _, h := range four {
		if name == encryptServer && slices.Contains(encryptedNames, h.name) {
			h.value = anything(encoded(len(h.value)))
		}
		a.stamped = append(a.stamped, h)
	}
	const timeLayout = "2006-01-02T15:04:05.000000000Z"
	a.stamped = append(a.stamped, header{"Stamp-Account", "$G"}, header{"Stamp-Subject", subject}, header{"Stamp-Time", anything(len(timeLayout))})
	size := map[string]int{macServer: 41, encryptServer: 41, signServer: 67}[name]
	if size > 0 {
		size += 3 * len(four) // docs/proofs.md, "The bytes of a proof"
		a.stamped = append(a.stamped, header{"Stamp-Proof", anything(encoded(size))})
	}
	return a
}

// proofStudies are two, since a signature takes as long as a hundred messages without one.
func proofStudies() []study {
	sizes := []int{16, 256, 1024, 4096, 16384, 65536}
	make := func(title, intro string, cost int, names ...string) study {
		s := study{name: title, intro: intro, servers: proofServers(names...), way: plainWay, cells: cells(sizes, []int{1}), differences: true}
		s.way.cost = cost
		for _, name := range names {
			s.arms = append(s.arms, provenArm(name))
			switch name {
			case unproven:
			case unprovenAgain:
				s.pairs = append(s.pairs, pair{"noise: no proof / no proof", name, unproven})
			default:
				s.pairs = append(s.pairs, pair{name + " / no proof", name, unproven})
			}
		}
		return s
	}
	const stamped = "Four headers are stamped, with provenance. "
	return []study{
		make("Proofs", stamped+"The server proves the messages to a receiver, without and with two of the values encrypted, against the same server without proofs.",
			1, unproven, unprovenAgain, macServer, encryptServer),
		make("Signed proofs", stamped+"The server signs each message.", 40, unproven, signServer),
	}
}
