package hook

import (
	"errors"
	"fmt"
	"reflect"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp.example/claim"
	"stamp/internal/callout"
	"stamp/internal/conf"
	"stamp/internal/policy"
)

// parser parses the parts of a configuration that are ours: the blocks headers and callout, and
// the headers of users. The process has one.
type parser struct{}

var _ natsserver.ConfigParser = parser{}

// What the parser returns, and the server keeps in its options.
type (
	userHeaders  struct{ *claim.Claim }
	headersBlock struct{ *policy.Rules }
	calloutBlock struct{ *callout.Config }
)

// Equal implements natsserver.ConfigValue.
func (u userHeaders) Equal(other natsserver.ConfigValue) bool { return reflect.DeepEqual(u, other) }

// String returns what the errors of a refused reload say of u: names, but never the values.
func (u userHeaders) String() string {
	var names []string
	for _, h := range u.Claim.Headers {
		names = append(names, h.Name)
	}
	return fmt.Sprintf("{headers: %q, publish.allow: %q, subscribe.allow: %q}", names, u.Claim.Publish, u.Claim.Subscribe)
}

// Equal implements natsserver.ConfigValue.
func (b headersBlock) Equal(other natsserver.ConfigValue) bool {
	o, ok := other.(headersBlock)
	return ok && b.Rules.Equal(o.Rules)
}

// Equal implements natsserver.ConfigValue.
func (b calloutBlock) Equal(other natsserver.ConfigValue) bool {
	o, ok := other.(calloutBlock)
	return ok && b.Config.Equal(o.Config)
}

// rulesOf returns the rules of a headers block. They are nil if block is nil, and nil rules are
// valid: they are those of a configuration without the block.
func rulesOf(block natsserver.ConfigValue) *policy.Rules {
	b, _ := block.(headersBlock)
	return b.Rules
}

// calloutConfig returns the callout block of a server's options, or nil if there is none.
func calloutConfig(o *natsserver.Options) *callout.Config {
	b, _ := o.ExtensionBlock("callout").(calloutBlock)
	return b.Config
}

// ParseUser implements natsserver.ConfigParser. It checks against the largest limits that can be
// configured, because the headers block with the limits may follow later in the file. Attach
// checks against the configured limits.
func (parser) ParseUser(headers, permissions any) (natsserver.ConfigValue, error) {
	h, p := conf.NodeOf(headers), conf.NodeOf(permissions)
	var faults conf.Faults
	h.AddRepeated("headers", &faults)
	h.AddVariables("headers", &faults)
	p.AddRepeated("header_permissions", &faults)
	var fault *conf.Fault
	if errors.As(faults.Err(), &fault) {
		return nil, errors.New(fault.Text) // the server adds the place
	}
	cl, err := claim.FromConfig(h.Plain(), p.Plain(), claim.MaxLimits)
	if err != nil || cl == nil {
		return nil, err
	}
	if err := policy.CheckTemplates(cl); err != nil {
		return nil, err
	}
	return userHeaders{cl}, nil
}

// ParseBlock implements natsserver.ConfigParser.
func (parser) ParseBlock(name string, block any) (natsserver.ConfigValue, error) {
	var faults conf.Faults
	if name == "callout" {
		cfg := callout.Parse(conf.NodeOf(block), &faults)
		if err := faults.Err(); err != nil {
			return nil, err
		}
		return calloutBlock{cfg}, nil
	}
	r := policy.ParseRules(conf.NodeOf(block), &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return headersBlock{r}, nil
}

// ParseError implements natsserver.ConfigParser.
func (parser) ParseError(file string, err error) error { return conf.ParseError(file, err) }

// RedactJWT implements natsserver.ConfigParser.
func (parser) RedactJWT(token string) string { return claim.Redact(token) }
