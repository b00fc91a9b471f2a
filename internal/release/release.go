// Package release says which release of Stamp this is. Its constants come from
// patches/UPSTREAM, through a package that scripts/upstream generates.
package release

import "github.com/nats-io/nats-server/v2/command/release"

const (
	// Upstream is the version of nats-server that the patches apply to. It stays
	// the version on the wire, because clients gate features on it.
	Upstream = release.Upstream
	// Version is our release, as the command line, the log and monitoring show
	// it. docs/releases.md has the other forms.
	Version = Upstream + "+" + release.Stamp
)
