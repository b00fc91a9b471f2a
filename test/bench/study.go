package main

import (
	"fmt"
	"slices"
	"strings"
)

// study is a set of cases that are measured together: in each round every arm in every cell.
type study struct {
	name    string
	intro   string
	servers []server
	arms    []arm
	cells   []cell
	pairs   []pair
	way     way
	// differences adds a table of what the arms of pairs differ by, in microseconds.
	differences bool
}

// studies are those beside the main one.
func studies() []study {
	return append([]study{websocketStudy(), jetStreamStudy(), mqttStudy(), sealedStudy(), fanOutStudy(), manyStudy(), featureStudy(), featureStreamStudy()}, proofStudies()...)
}

// portsConf opens the ports of all ways. A stream keeps the last messages alone, and takes them as
// fast as they come.
const portsConf = `
server_name: bench
websocket { listen: "127.0.0.1:-1", no_tls: true }
mqtt { listen: "127.0.0.1:-1" }
jetstream { store_dir: "js", max_memory_store: 1GB, max_buffered_msgs: 1000000, max_buffered_size: 2GB }
`

func portServers() []server {
	return threeServers(func(stamps bool) string { return portsConf + usersConf(stamps) })
}

func armsOf(names ...string) []arm {
	return slices.DeleteFunc(slices.Clone(arms), func(a arm) bool { return !slices.Contains(names, a.name) })
}

var waySizes = []int{16, 1024, 65536, 1 << 20}

func websocketStudy() study {
	return study{
		name: "Websocket", intro: "The publisher's connection is a websocket, without compression.",
		servers: portServers(), way: websocketWay, cells: cells(waySizes, []int{0, 1}),
		arms: armsOf("stock", "stock again", "ours", "stock, client sends 1", "ours, stamps 1"), pairs: pairs[:3],
	}
}

func jetStreamStudy() study {
	return study{
		name: "JetStream", intro: "A stream in memory that keeps 1,000 messages is the only reader. The messages have no reply subject; " +
			"that all of them were stored is looked at afterwards.",
		servers: portServers(), way: jetStreamWay, cells: cells(waySizes, []int{0}),
		arms: armsOf("stock", "stock again", "ours", "stock, client sends 1", "ours, stamps 1"), pairs: pairs[:3],
	}
}

func mqttStudy() study {
	return study{
		name: "MQTT", intro: "QoS 0. MQTT 3.1.1 has no headers, so that the stamp can be compared with none only.",
		servers: portServers(), way: mqttWay, cells: cells(waySizes, []int{0, 1}),
		arms:  armsOf("stock", "stock again", "ours", "ours, stamps 1"),
		pairs: append(slices.Clone(pairs[:2]), pair{"1 header stamped / none", "ours, stamps 1", "ours"}),
	}
}

// Processes of our server in the studies of sealed names.
const (
	open    = "open"
	open2   = "open again"
	sealing = "sealed"
)

func sealServers() []server {
	users := usersConf(true)
	return []server{{open, users}, {open2, users}, {sealing, "headers { sealed: [Session] }\n" + users}}
}

// sealArms compare the servers in one case.
func sealArms(title string, model arm) ([]arm, []pair) {
	var all []arm
	name := func(server string) string { return fmt.Sprintf("%s, %s", server, title) }
	for _, server := range []string{open, open2, sealing} {
		a := model
		a.server, a.name = server, name(server)
		all = append(all, a)
	}
	return all, []pair{
		{"noise: open / open, " + title, name(open2), name(open)},
		{"sealed / open, " + title, name(sealing), name(open)},
	}
}

func sealedStudy() study {
	none, nonePairs := sealArms("no headers", arm{user: plainUser})
	two, twoPairs := sealArms("2 headers", arm{user: plainUser, sent: own})
	return study{
		name: "Sealed names", intro: "Our server with `headers { sealed: [Session] }` against ours without. The messages hold no sealed name, " +
			"and the subscribers may not see it.",
		servers: sealServers(), way: plainWay, cells: cells([]int{16, 1024, 65536}, []int{1, 10}),
		arms: slices.Concat(none, two), pairs: slices.Concat(nonePairs, twoPairs),
	}
}

func fanOutStudy() study {
	mixed := []string{plainUser, readerUser}
	two, twoPairs := sealArms("2 headers", arm{user: plainUser, sent: own, readers: mixed})
	stamped, stampedPairs := sealArms("1 stamped", arm{user: oneUser, stamped: one, readers: mixed})
	return study{
		name: "Fan-out to 1,000", intro: "1,000 subscribers, of which every second one may see the sealed name. Messages with two other headers, and " +
			"with a stamped one that is sealed: it is cut for half of the subscribers, who get less.",
		servers: sealServers(), way: plainWay, cells: cells([]int{128}, []int{1000}),
		arms: slices.Concat(two, stamped), pairs: slices.Concat(twoPairs, stampedPairs),
	}
}

// crowded is a process of our server with 1,000 protected names.
const crowded = "ours, 1,000 names protected"

// manyUser has n headers.
func manyUser(n int) string { return fmt.Sprintf("many%d", n) }

func manyStudy() study {
	counts := []int{8, 64}
	var all []arm
	var ps []pair
	add := func(title string, sent, stamped arm) {
		sent.name, stamped.name = title+" sent", title+" stamped"
		all = append(all, sent, stamped)
		ps = append(ps, pair{title + ": stamped / sent", stamped.name, sent.name})
	}
	for _, n := range counts {
		headers := many("X-Many", n)
		add(fmt.Sprintf("%d headers", n), arm{server: stock, user: plainUser, sent: headers}, arm{server: ours, user: manyUser(n), stamped: headers})
	}
	clients := many("X-Client", 50)
	add("4 headers, 50 of the client's", arm{server: stock, user: plainUser, sent: slices.Concat(clients, four)},
		arm{server: ours, user: fourUser, sent: clients, stamped: four})
	add("4 headers, 2 of the client's, 1,000 names protected", arm{server: stock, user: plainUser, sent: slices.Concat(own, four)},
		arm{server: crowded, user: fourUser, sent: own, stamped: four})
	conf := func(stamps bool) string {
		conf := strings.TrimSuffix(usersConf(stamps), "] }\n")
		for _, n := range counts {
			conf += fmt.Sprintf("  { user: %s, password: %s, ", manyUser(n), password)
			if stamps {
				conf += confHeaders(many("X-Many", n))
			}
			conf += " }\n"
		}
		return conf + "] }\n"
	}
	return study{
		name: "Many headers", intro: "The values have 32 characters; the first pair has 8 headers, the second 64.",
		servers: []server{{stock, conf(false)}, {ours, conf(true)},
			{crowded, fmt.Sprintf("headers { protected: [\"%s\"] }\n", strings.Join(protectedNames(1000), `", "`)) + conf(true)}},
		way: plainWay, cells: cells([]int{16, 1024}, []int{0, 1}), arms: all, pairs: ps,
	}
}
