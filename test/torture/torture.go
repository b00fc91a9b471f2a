// Package torture puts the real hook into the test binaries of upstream's own packages, and with it a stamp on every
// connection. Only those test binaries use it: scripts/test-upstream adds a file to them that calls Install. No release imports
// it.
package torture

import (
	"fmt"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/hook"
)

// Name is the header that every message gets.
const Name = "Torture"

// blocks are the headers blocks, by mode, for servers that have none.
var blocks = map[string]string{
	// As released: the hook is there, and has nothing to do.
	"upstream": ``,
	// Each connection's messages get a header whose length differs between connections.
	"stamped": `all: { "` + Name + `": "cid-{{client-id()}}" }`,
	// The same, but nobody is delivered the header: receivers must see what was sent.
	"sealed": `all: { "` + Name + `": "cid-{{client-id()}}" }, sealed: ["` + Name + `"]`,
}

// Install makes this process read our blocks. It returns a function that makes a server's interceptor for the mode. An overlay
// of the scripts calls it before a test creates a server.
func Install(mode string) func() natsserver.Interceptor {
	text, ok := blocks[mode]
	if !ok {
		panic(fmt.Sprintf("no mode %q", mode))
	}
	hook.Install()
	var o natsserver.Options
	if err := o.ProcessConfigString("headers { " + text + " }"); err != nil {
		panic(err)
	}
	return func() natsserver.Interceptor {
		return natsserver.NewExtension(&tortureHook{hook.New(), o.ExtensionBlock("headers")})
	}
}

// tortureHook is the real hook, in servers that all have the same headers block.
type tortureHook struct {
	*hook.Hook
	headers natsserver.ConfigValue
}

// Attach implements natsserver.Extension.
func (h *tortureHook) Attach(info *natsserver.AttachInfo) (natsserver.Attachment, error) {
	if info.Headers != nil {
		return h.Hook.Attach(info)
	}
	info.Headers = h.headers
	att, err := h.Hook.Attach(info)
	if att.Again != nil {
		again := att
		att.Again = func(natsserver.AttachedAccount) (natsserver.Attachment, error) { return again, nil }
	}
	return att, err
}
