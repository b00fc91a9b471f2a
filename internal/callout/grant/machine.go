package grant

import (
	"maps"
	"sync"

	"github.com/expr-lang/expr/vm"

	"stamp/internal/callout/session"
)

// machine evaluates the expressions of the grants for one connection.
type machine struct {
	vm        vm.VM
	variables map[string]any // of the connection, and the functions of meter.go and strict.go
	meter     meter
}

// requestVariables are the fields of the variable request.
type requestVariables struct {
	Host       string         `expr:"host"`
	Type       string         `expr:"type"`
	Kind       string         `expr:"kind"`
	Name       string         `expr:"name"`
	Lang       string         `expr:"lang"`
	MQTT       string         `expr:"mqtt_id"`
	User       string         `expr:"user"`
	Nkey       string         `expr:"nkey"`
	Credential string         `expr:"credential"`
	Headers    map[string]any `expr:"headers"`
	Cookies    map[string]any `expr:"cookies"`
	Server     string         `expr:"server"`
	Cluster    string         `expr:"cluster"`
}

// memoryBudget is how many elements the lists and maps that an expression makes may have
// in total.
const memoryBudget = 10_000

var machines = sync.Pool{New: func() any {
	m := &machine{vm: vm.VM{MemoryBudget: memoryBudget}, variables: map[string]any{}}
	maps.Copy(m.variables, m.meter.functions())
	maps.Copy(m.variables, m.meter.strictFunctions())
	return m
}}

// newMachine returns a machine with the variables of a connection. It sets the variable
// request only if the parameter request is set. The caller releases the machine.
func newMachine(s *session.Session, r *session.Request, request bool) *machine {
	m := machines.Get().(*machine)
	m.meter.begin()
	m.variables["session"], m.variables["source"] = s.Data, s.Source
	if c := &r.Credential; c.Value != "" && c.Kind != session.Password && c.Kind != session.Nkey && c.Kind != session.None {
		m.variables["credential"] = c.Value
	}
	if request {
		m.variables["request"] = newRequest(r)
	}
	return m
}

// release makes the machine available to other connections. Until then, the stack of the
// library may still hold values of the session.
func (m *machine) release() {
	for _, name := range []string{"session", "source", "credential", "request"} {
		delete(m.variables, name)
	}
	machines.Put(m)
}

func newRequest(r *session.Request) *requestVariables {
	v := &requestVariables{
		Host: r.Host, Type: r.Type, Kind: r.Kind, Name: r.Name, Lang: r.Lang, MQTT: r.MQTT,
		Credential: string(r.Credential.Kind), Server: r.ServerName, Cluster: r.Cluster,
		Headers: make(map[string]any, len(r.Headers)), Cookies: make(map[string]any, len(r.Cookies)),
	}
	switch r.Credential.Kind { // with a cookie or token, nobody has verified the user name and nkey
	case session.Password:
		v.User = r.Credential.Username
	case session.Nkey:
		v.Nkey = r.Credential.Nkey
	}
	for name, values := range r.Headers {
		if len(values) > 0 {
			v.Headers[name] = values[0]
		}
	}
	for name, value := range r.Cookies {
		v.Cookies[name] = value
	}
	return v
}
