package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Processes of our server in the studies of features. Each has one setting of the headers block, or all.
const (
	withAll        = "ours, all"
	withProvenance = "ours, provenance"
	withReplies    = "ours, check_replies"
	withProtected  = "ours, protected"
	withSealed     = "ours, sealed"
	withEverything = "ours, everything"
)

var features = []server{
	{withAll, allBlock},
	{withProvenance, "provenance: true\n"},
	{withReplies, "check_replies: true\n"},
	{withProtected, protectedBlock},
	{withSealed, sealedBlock},
	{withEverything, allBlock + "provenance: true\ncheck_replies: true\n" + protectedBlock + sealedBlock},
}

// sealingServers seal Session.
var sealingServers = []string{sealing, withSealed, withEverything}

const (
	allBlock       = "all: { Deployment: blue-7f9c }\n"
	protectedBlock = "protected: [ \"X-Internal-*\", Tenant ]\n"
	sealedBlock    = "sealed: [ Session ]\n"
)

// Lines that a feature adds. The time has the length of the server's, and varies: see anyByte.
var (
	allLines        = []header{{"Deployment", "blue-7f9c"}}
	provenanceLines = []header{{"Stamp-Account", "$G"}, {"Stamp-Subject", subject}, {"Stamp-Time", "2026-01-02T15:04:05.000000000Z"}}
)

// The users of the studies of features: one with four headers, and those that have as many bytes of headers as the
// first gets with `all`, and with provenance.
const (
	featureUser = "feature"
	fiveUser    = "five"
	sevenUser   = "seven"
	oursFive    = "ours, 5 headers"
	oursSeven   = "ours, 7 headers"
)

var asAll = []header{{"Z-Deploymt", "blue-7f9c"}}

var asProvenance = []header{{"Z-When-Tim", "2026-01-02T15:04:05.000000000Z"}, {"Z-Where-Accnt", "$G"}, {"Z-Where-Subjc", subject}}

// featureUsers are the users, with their permissions.
func featureUsers(permissions string, stamps bool) string {
	user := func(name string, headers []header) string {
		field := ""
		if stamps {
			field = confHeaders(headers)
		}
		return fmt.Sprintf("  { user: %s, password: %s, %s%s }\n", name, password, permissions, field)
	}
	const end = "] }\n"
	others := strings.TrimSuffix(usersConf(stamps), end)
	return others + user(featureUser, four) + user(fiveUser, slices.Concat(four, asAll)) + user(sevenUser, slices.Concat(four, asProvenance)) + end
}

// featureServers are stock, twice, ours, and ours with each feature.
func featureServers(conf func(stamps bool) string) []server {
	all := threeServers(conf)
	for _, f := range features {
		all = append(all, server{f.name, "headers {\n" + f.conf + "}\n" + conf(true)})
	}
	return all
}

// bases names, for each arm where a feature adds bytes, an arm with as many bytes of headers to compare with.
var bases = map[string]string{withAll: oursFive, withProvenance: oursSeven}

// featureArms compares each feature with stamping alone, and everything with a stock server that gets the same headers from the
// client.
func featureArms() ([]arm, []pair) {
	const sent, sentAll = "stock, client sends 4", "stock, client sends 4 and what everything adds"
	all := []arm{
		{name: sent, server: stock, user: featureUser, sent: four},
		{name: "stock again, client sends 4", server: again, user: featureUser, sent: four},
		{name: sentAll, server: stock, user: featureUser, sent: slices.Concat(allLines, four, provenanceLines)},
		{name: ours, server: ours, user: featureUser, stamped: four},
		{name: oursFive, server: ours, user: fiveUser, stamped: slices.Concat(four, asAll)},
		{name: oursSeven, server: ours, user: sevenUser, stamped: slices.Concat(four, asProvenance)},
	}
	ps := []pair{
		{"noise: stock / stock", "stock again, client sends 4", sent},
		{"4 headers stamped / sent", ours, sent},
		{"everything / the same headers sent", withEverything, sentAll},
	}
	for _, f := range features {
		all = append(all, arm{name: f.name, server: f.name, user: featureUser, stamped: featureLines(f.name)})
		base, other := bases[f.name]
		switch {
		case f.name == withEverything:
		case other:
			ps = append(ps, pair{f.name + " / " + base, f.name, base})
		default:
			ps = append(ps, pair{f.name + " / ours", f.name, ours})
		}
	}
	return all, ps
}

// featureLines are what a server with a feature stamps.
func featureLines(server string) []header {
	lines := slices.Clone(provenanceLines)
	lines[2].value = string(bytes.Repeat([]byte{anyByte}, len(lines[2].value)))
	switch server {
	case withAll:
		return slices.Concat(allLines, four)
	case withProvenance:
		return slices.Concat(four, lines)
	case withEverything:
		return slices.Concat(allLines, four, lines)
	}
	return four
}

func featureStudy() study {
	all, ps := featureArms()
	conf := func(stamps bool) string { return featureUsers("", stamps) }
	return study{
		name: "Features", intro: "Each setting of the headers block against stamping four headers without it, and everything against a stock server " +
			"whose client sends the same headers. Of the four, Session is sealed, and the subscribers may not see it.",
		servers: featureServers(conf), way: plainWay, cells: cells([]int{16, 1024}, []int{1, 10}), arms: all, pairs: ps,
	}
}

// featureStreamStudy publishes to a stream as a client of JetStream does: each message has a reply subject of its own.
func featureStreamStudy() study {
	all, ps := featureArms()
	conf := func(stamps bool) string {
		return portsConf + featureUsers(`permissions: { publish: "bench.>", subscribe: { allow: "_INBOX.bench.>", deny: "private.>" } }, `, stamps)
	}
	return study{
		name: "Features in JetStream", intro: "A stream in memory is the only reader. Each message has a reply subject of its own, for the acknowledgement; " +
			"the publisher's permissions allow its inbox.",
		servers: featureServers(conf), way: requestStreamWay, cells: cells([]int{16, 1024}, []int{0}), arms: all, pairs: ps,
	}
}
