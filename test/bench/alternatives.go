package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// The alternatives are what a service can do to learn who has sent a message without Stamp: read a header that the client
// wrote, be reached by a service import, with which the server adds the header Nats-Request-Info, or read a signed
// token in the payload.

// Arms of the study.
const (
	sentArm    = "stock, client sends 1"
	sentAgain  = "stock again, client sends 1"
	stampedArm = "ours, stamps 1"
	importArm  = "stock, service import"
	shareArm   = "stock, service import with share"
	tokenArm   = "stock, token in the payload"
)

// Users of the accounts that import the service.
const (
	importUser = "importer"
	shareUser  = "sharer"
)

// accountsConf has the users of usersConf in an account with the service, and two accounts that import it.
func accountsConf(stamps bool) string {
	field := ""
	if stamps {
		field = confHeaders(one)
	}
	return fmt.Sprintf(`accounts {
  APP { users: [ { user: %[1]s, password: %[5]s }, { user: %[2]s, password: %[5]s, %[6]s } ], exports: [ { service: %[7]s } ] }
  IMPORTS { users: [ { user: %[3]s, password: %[5]s } ], imports: [ { service: { account: APP, subject: %[7]s } } ] }
  SHARES { users: [ { user: %[4]s, password: %[5]s } ], imports: [ { service: { account: APP, subject: %[7]s }, share: true } ] }
}
`, plainUser, oneUser, importUser, shareUser, password, field, subject)
}

// importedWay has no delivered: the header that the server adds names the connection, so the first message shows it.
var importedWay = way{dial: dialPlain, message: message, cost: 1}

// tokenWay puts a token in front of the payload.
func tokenWay(token string) *way {
	body := func(size int) []byte { return []byte(token + strings.Repeat("x", size)) }
	return &way{dial: dialPlain, cost: 1,
		message:   func(size int, _ []header) []byte { return encodeBody("PUB "+subject, nil, body(size)) },
		delivered: func(size int, _ []header) []byte { return encodeBody("MSG "+subject+" 1", nil, body(size)) },
	}
}

// newToken returns a JWT with the headers of one as claims, signed by an account key (Ed25519). A service would verify it in
// each message.
func newToken() (string, error) {
	account, err := nkeys.CreateAccount()
	if err != nil {
		return "", err
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	public, err := user.PublicKey()
	if err != nil {
		return "", err
	}
	claims := jwt.NewGenericClaims(public)
	claims.Expires = time.Now().Add(24 * time.Hour).Unix()
	for _, h := range one {
		claims.Data[h.name] = h.value
	}
	return claims.Encode(account)
}

func alternativesStudy(token string) study {
	imported := func(name, user string) arm { return arm{name: name, server: stock, user: user, way: &importedWay} }
	return study{
		name:    "Without Stamp",
		servers: threeServers(accountsConf), way: plainWay, cells: cells([]int{16, 1024, 16384}, []int{1}),
		arms: []arm{
			{name: sentArm, server: stock, user: plainUser, sent: one},
			{name: sentAgain, server: again, user: plainUser, sent: one},
			{name: stampedArm, server: ours, user: oneUser, stamped: one},
			imported(importArm, importUser), imported(shareArm, shareUser),
			{name: tokenArm, server: stock, user: plainUser, way: tokenWay(token)},
		},
		pairs: []pair{
			{"noise: sent / sent", sentAgain, sentArm},
			{"stamped / sent", stampedArm, sentArm},
			{"service import / sent", importArm, sentArm},
			{"service import with `share: true` / sent", shareArm, sentArm},
			{"token in the payload / sent", tokenArm, sentArm},
		},
	}
}

// Ways in which a service can learn from a message who has sent it.
const (
	readStudy   = "read"
	readHeader  = "read the stamped header"
	verifyToken = "verify the token"
)

func (r *runner) alternativeRounds(ctx context.Context) error {
	token, err := newToken()
	if err != nil {
		return err
	}
	s := alternativesStudy(token)
	if err := r.addedBytes(ctx, s); err != nil {
		return err
	}
	for range r.plan.studyRounds {
		if err := r.rounds(ctx, s, 1); err != nil {
			return err
		}
		if err := r.readRound(token); err != nil {
			return err
		}
	}
	return nil
}

// addedBytes notes how many bytes longer a message is for the subscriber than one that says nothing of its sender.
func (r *runner) addedBytes(ctx context.Context, s study) error {
	return r.withServers(ctx, s.servers, func(procs map[string]*process) error {
		c := s.cells[0]
		for _, a := range s.arms {
			l, err := openLoad(procs[a.server], s.way, c, a)
			if err != nil {
				return err
			}
			r.res.added[a.name] = bodyLen(l.subs[0].want) - c.size
			l.close()
		}
		return nil
	})
}

// bodyLen returns the length of the header block and the payload of a delivered message.
func bodyLen(message []byte) int {
	line, _, _ := bytes.Cut(message, []byte("\r\n"))
	return len(message) - len(line) - len("\r\n\r\n")
}

// readRound measures what a service of the bench's own process does with one message, in CPU time.
func (r *runner) readRound(token string) error {
	block := block(one)
	tasks := map[string]func() error{
		readHeader: func() error {
			headers, err := nats.DecodeHeadersMsg(block)
			if err == nil && headers.Get(one[0].name) == "" {
				err = fmt.Errorf("the message has no header %s", one[0].name)
			}
			return err
		},
		verifyToken: func() error {
			_, err := jwt.DecodeGeneric(token)
			return err
		},
	}
	counts := map[string]int{readHeader: 20000, verifyToken: 500}
	for _, name := range shuffled([]string{readHeader, verifyToken}) {
		runtime.GC()
		before, err := cpuTime(os.Getpid())
		if err != nil {
			return err
		}
		for range counts[name] {
			if err := tasks[name](); err != nil {
				return err
			}
		}
		after, err := cpuTime(os.Getpid())
		if err != nil {
			return err
		}
		r.res.cpu.add(key{study: readStudy, arm: name}, float64(after-before)/float64(counts[name]))
	}
	return nil
}

// learn publishes one message, and keeps it as the subscribers get it.
func (l *load) learn() error {
	if _, err := l.pub.Write(l.way.message(l.cell.size, l.arm.sent)); err != nil {
		return err
	}
	for _, s := range l.subs {
		message, err := readMessage(s.Conn)
		if err != nil {
			return err
		}
		if !bytes.Contains(message, []byte("Nats-Request-Info: {")) {
			return fmt.Errorf("the server added no Nats-Request-Info")
		}
		s.want = message
	}
	return nil
}

// readMessage reads one message, and not a byte more.
func readMessage(conn interface{ Read([]byte) (int, error) }) ([]byte, error) {
	r := bufio.NewReaderSize(oneByte{conn}, 16)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		fields := strings.Fields(line)
		if len(fields) == 0 || !slices.Contains([]string{"MSG", "HMSG"}, fields[0]) {
			continue // a PING
		}
		var size int
		if _, err := fmt.Sscan(fields[len(fields)-1], &size); err != nil {
			return nil, fmt.Errorf("read the length of a message: %w", err)
		}
		message := []byte(line)
		for range size + len("\r\n") {
			b, err := r.ReadByte()
			if err != nil {
				return nil, err
			}
			message = append(message, b)
		}
		return message, nil
	}
}

// oneByte reads a byte at a time, so that a reader with a buffer takes nothing that comes later.
type oneByte struct {
	conn interface{ Read([]byte) (int, error) }
}

func (o oneByte) Read(b []byte) (int, error) { return o.conn.Read(b[:1]) }

func alternativesSection(b *strings.Builder, r *results) {
	s := alternativesStudy("")
	if len(r.cpu.in(s.name, s.pairs[0], s.cells[0])) == 0 {
		return
	}
	fmt.Fprintf(b, "## Without Stamp\n\nHow a service could learn without Stamp who has sent a message, and what that costs the server: CPU time for a message with one subscriber, "+
		"as a factor of a message whose header the client sends (\"sent\"), which proves nothing. In \"stamped\" Stamp sets that header. "+
		"%d rounds. Median (quartiles) over the rounds of the ratio within a round.\n\n", r.plan.studyRounds)
	ratioTable(b, r, s)
	b.WriteString("A service import adds `Nats-Request-Info`, as JSON that the server writes for each message: by default the name of the account, with `share: true` also user, " +
		"client, host and times. It has nothing of a session, and only a service of another account gets it.\n\n")
	tableHead(b, "way (\"ours\" is Stamp)", "bytes added to a message")
	for _, a := range s.arms {
		if a.server != again {
			tableRow(b, a.name, fmt.Sprint(r.added[a.name]))
		}
	}
	b.WriteString("\nWhat the service itself does with a message, in CPU time of its process, with nats.go and jwt/v2:\n\n")
	tableHead(b, "task", "microseconds, median ± median absolute deviation")
	for _, name := range []string{readHeader, verifyToken} {
		tableRow(b, name, deviation(r.cpu[key{study: readStudy, arm: name}], 1e3))
	}
	b.WriteString("\n")
}
