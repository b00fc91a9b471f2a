package forwarded

import "time"

// RenewAll is where all servers are asked to renew connections; $SYS.REQ.SERVER.<id>.RENEW
// asks one. Both are in the system account, as upstream's $SYS.REQ.SERVER.<id>.KICK.
const RenewAll = "$SYS.REQ.SERVER.PING.RENEW"

// Renew is such a request, as JSON. One of CID, Session, User and All says which connections, or Pending asks
// how far earlier requests have come.
type Renew struct {
	CID     uint64 `json:"cid,omitempty"`
	Session string `json:"session,omitempty"` // as SessionName
	User    string `json:"user,omitempty"`    // as monitoring has it
	All     bool   `json:"all,omitempty"`     // that an auth callout let in
	// Account narrows Session, User and All to the connections of an account: its name, in operator mode its
	// public key. Users of two accounts may have the same name.
	Account string `json:"account,omitempty"`
	// Kick closes the connections instead of asking the callout about them.
	Kick    bool `json:"kick,omitempty"`
	Pending bool `json:"pending,omitempty"`
	// Ago is how long ago a session changed, when that is said again. Connections that were authenticated since
	// are left alone. It is a duration and no time, because the clocks of servers differ.
	Ago time.Duration `json:"ago,omitempty"`
	// Again are requests about sessions that are said again, together.
	Again []Renew `json:"again,omitempty"`
}

// Renewed is a server's answer to Renew.
type Renewed struct {
	Connections int `json:"connections"` // that are being renewed, or were closed
	Pending     int `json:"pending"`     // renewals that somebody asked for and that are not done
	// Renewals since the start of the server: of connections that were closed because the callout refused them, and
	// that somebody asked for and that got no answer until the server gave up.
	Refused uint64 `json:"refused"`
	GivenUp uint64 `json:"given_up"`
}
