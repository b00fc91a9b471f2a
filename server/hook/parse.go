package hook

import (
	"reflect"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout"
	"stamp/server/claim"
	"stamp/server/conf"
	"stamp/server/policy"
)

// parser reads our part of each configuration of the process.
type parser struct{}

var _ natsserver.ConfigParser = parser{}

// Values of a configuration, as the server keeps them.
type (
	userHeaders  struct{ *claim.Claim }
	headersBlock struct{ *policy.Rules }
	calloutBlock struct{ *callout.Config }
)

// Equal implements natsserver.ConfigValue.
func (u userHeaders) Equal(other natsserver.ConfigValue) bool { return reflect.DeepEqual(u, other) }

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

// rulesOf returns the rules of a headers block, which may be nil.
func rulesOf(block natsserver.ConfigValue) *policy.Rules {
	b, _ := block.(headersBlock)
	return b.Rules
}

// calloutConfig returns the callout block of a server's options, or nil.
func calloutConfig(o *natsserver.Options) *callout.Config {
	b, _ := o.ExtensionBlock("callout").(calloutBlock)
	return b.Config
}

// ParseUser implements natsserver.ConfigParser. The limits of the server may stand below the user
// in the file: they are checked in Attach.
func (parser) ParseUser(headers, permissions any) (natsserver.ConfigValue, error) {
	cl, err := claim.FromConfig(headers, permissions, claim.MaxLimits)
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
		cfg := callout.Parse(conf.From(block), &faults)
		if err := faults.Err(); err != nil {
			return nil, err
		}
		return calloutBlock{cfg}, nil
	}
	r := policy.ParseRules(conf.From(block), &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return headersBlock{r}, nil
}

// RedactJWT implements natsserver.ConfigParser.
func (parser) RedactJWT(token string) string { return claim.Redact(token) }
