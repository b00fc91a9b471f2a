// Package release says which release of Stamp this is.
package release

const (
	// Upstream is the version of nats-server that the patches apply to. It stays
	// the version on the wire, because clients gate features on it.
	Upstream = "2.15.2"
	// Version is our release, as the command line, the log and monitoring show
	// it. The tag of an image has '-' where it has '+'.
	Version = Upstream + "+stamp.1"
)
