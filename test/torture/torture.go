// Package torture puts the real hook into the test binaries of upstream's own packages, and
// with it a stamp on every connection. It is reached by test binaries alone, in which
// scripts/test-upstream puts a file that calls Install: nothing in a release imports it.
package torture

import (
	"fmt"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/conf"
	"stamp/server/hook"
	"stamp/server/policy"
)

// Name is the header that every message gets.
const Name = "Torture"

// blocks are the headers blocks that a server gets which has none, by mode.
var blocks = map[string]string{
	// As released: the hook is there, and has nothing to do.
	"upstream": ``,
	// Each connection's messages get a header whose length differs between connections.
	"stamped": `all: { "` + Name + `": "cid-{{client-id()}}" }`,
	// The same, and nobody is delivered it: receivers must see what was sent.
	"sealed": `all: { "` + Name + `": "cid-{{client-id()}}" }, sealed: ["` + Name + `"]`,
}

// Install makes every server of this process do what the mode says. It must be called before
// a configuration is read or a server is created.
func Install(mode string) {
	text, ok := blocks[mode]
	if !ok {
		panic(fmt.Sprintf("no mode %q", mode))
	}
	if text == "" {
		hook.Install()
		return
	}
	n, err := conf.ParseString("headers { " + text + " }")
	if err != nil {
		panic(err)
	}
	var faults conf.Faults
	rules := policy.ParseRules(n.Get("headers"), &faults)
	if err := faults.Err(); err != nil {
		panic(err)
	}
	natsserver.SetInboundHook(&tortureHook{hook.New(), rules})
}

// tortureHook is the real hook, in servers that all have the same headers block.
type tortureHook struct {
	*hook.Hook
	rules *policy.Rules
}

// Attach implements natsserver.InboundHook.
func (h *tortureHook) Attach(info natsserver.InboundInfo) (natsserver.InboundAttachment, error) {
	if info.Options == nil {
		info.Options = h.rules
	}
	return h.Hook.Attach(info)
}
