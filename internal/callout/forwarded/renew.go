package forwarded

import "time"

// RenewAll is the subject of requests to all servers to renew connections.
// $SYS.REQ.SERVER.<id>.RENEW asks one server. Both are subjects of the system account,
// like upstream's $SYS.REQ.SERVER.<id>.KICK.
const RenewAll = "$SYS.REQ.SERVER.PING.RENEW"

// Renew is a request, as JSON, to renew connections: to ask the auth callout about them
// again. Exactly one of CID, Session, User and All selects the connections, or Pending
// asks for the progress of earlier requests, or Again holds several requests.
type Renew struct {
	CID     uint64 `json:"cid,omitempty"`
	Session string `json:"session,omitempty"` // a name of SessionName
	User    string `json:"user,omitempty"`    // the user name that monitoring shows
	All     bool   `json:"all,omitempty"`     // all connections that an auth callout authenticated
	// Account restricts Session, User and All to the connections of one account: its
	// name or, in operator mode, its public key. Users and sessions of two accounts may
	// have the same name.
	Account string `json:"account,omitempty"`
	// Kick closes the connections instead of renewing them.
	Kick    bool `json:"kick,omitempty"`
	Pending bool `json:"pending,omitempty"`
	// Ago is how long ago the session changed or ended, if the request is late or
	// repeated. It does not close connections that were authenticated after that. It is
	// a duration because the clocks of servers differ.
	Ago time.Duration `json:"ago,omitempty"`
	// Revision is the entry of the store that the change of the session has written. A server
	// applies the request only to connections that were granted by an older entry. So it does no
	// harm if several handlers report one change, or if it is repeated.
	Revision *Revision `json:"revision,omitempty"`
	// Again holds requests with Session that are sent again in one message.
	Again []Renew `json:"again,omitempty"`
	// Follows is not a request. A server says with it that it need not be told of some changes.
	Follows *Follows `json:"follows,omitempty"`
}

// Renewed is a server's answer to Renew.
type Renewed struct {
	Connections int `json:"connections"` // that the server began to renew, or closed
	Pending     int `json:"pending"`     // requested renewals that are not done yet
	// Since the start of the server:
	Refused uint64 `json:"refused"`  // renewals that the callout refused, so that the connection was closed
	GivenUp uint64 `json:"given_up"` // requested renewals that got no answer until the server gave up
}
