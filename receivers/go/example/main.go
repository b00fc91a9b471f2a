// Command example is two micro services. `orders` takes orders of users. For each it asks `stock` on behalf of the user,
// and passes on the proof of the user's request. So stock knows which service asks now, and for which user.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/natsmsg"
)

func main() {
	server := flag.String("server", nats.DefaultURL, "the server's URL, with the user and password of the services")
	trusted := flag.String("trust", "trust.json", "file with what the services trust: see docs/proofs.md")
	flag.Parse()
	if err := run(*server, *trusted); err != nil {
		log.Fatal(err)
	}
}

func run(server, trusted string) error {
	text, err := os.ReadFile(trusted)
	if err != nil {
		return err
	}
	options, err := stamp.OptionsJSON(text)
	if err != nil {
		return fmt.Errorf("%s: %w", trusted, err)
	}
	trust, err := stamp.NewTrust(options)
	if err != nil {
		return fmt.Errorf("%s: %w", trusted, err)
	}
	nc, err := nats.Connect(server)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := serve(nc, trust); err != nil {
		return err
	}
	fmt.Println("ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
	return nil
}

// serve starts both services.
func serve(nc *nats.Conn, trust *stamp.Trust) error {
	for subject, handler := range map[string]func(stamp.Identity, micro.Request){
		"orders.new": func(id stamp.Identity, r micro.Request) { order(nc, trust, id, r) },
		"stock.take": func(id stamp.Identity, r micro.Request) { take(trust, id, r) },
	} {
		service, err := micro.AddService(nc, micro.Config{Name: subject[:5], Version: "1.0.0"})
		if err != nil {
			return err
		}
		if err := service.AddEndpoint("new", natsmsg.Handle(trust, handler), micro.WithEndpointSubject(subject)); err != nil {
			return err
		}
	}
	return nc.Flush()
}

// order takes an order of a user, and asks stock on the user's behalf.
func order(nc *nats.Conn, trust *stamp.Trust, id stamp.Identity, r micro.Request) {
	ask := nats.NewMsg("stock.take")
	ask.Data = r.Data()
	if err := natsmsg.Forward(ask, natsmsg.Request(r), trust); err != nil {
		answer(r, r.Error("500", string(stamp.VerdictOf(err)), nil))
		return
	}
	reply, err := nc.RequestMsg(ask, nats.DefaultTimeout)
	if err != nil {
		answer(r, r.Error("503", "stock does not answer", nil))
		return
	}
	answer(r, r.Respond(fmt.Appendf(nil, "thank you, %s: %s", id.User, reply.Data)))
}

// take is asked by a service, on behalf of a user.
func take(trust *stamp.Trust, service stamp.Identity, r micro.Request) {
	user, err := stamp.Forwarded(natsmsg.Request(r), trust)
	if err != nil {
		answer(r, r.Error("403", "on behalf of nobody: "+string(stamp.VerdictOf(err)), nil))
		return
	}
	answer(r, r.Respond(fmt.Appendf(nil, "%s takes %s for %s, who asked on %s", service.User, r.Data(), user.User, user.Subject)))
}

// answer logs that an answer could not be sent.
func answer(r micro.Request, err error) {
	if err != nil {
		log.Printf("%s: %v", r.Subject(), err)
	}
}
