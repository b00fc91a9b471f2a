package hook

import (
	"slices"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/policy"
)

// keptConn is what is kept of a connection as long as it lives, to attach it again after a
// reload or an update of its account. There is one for each connection that an auth callout let
// in, also if it is idle, so it must be small. It does not hold the user JWT and its claims, which
// are large, and nothing that the server can tell.
type keptConn struct {
	hook                       *Hook
	server                     *natsserver.Server
	cid                        uint64
	kind                       int
	connType, host, clientName string
	record                     natsserver.ConnRecord
	user, tlsSubject           string
	subject, userName, issuer  string   // of the user JWT
	tags                       []string // of the user JWT
	claim                      *policy.UserClaim
	solicited, scoped          bool
}

// newKeptConn returns what is kept of a connection that has a user JWT.
func newKeptConn(h *Hook, info *natsserver.AttachInfo, grant *policy.Grant) *keptConn {
	uc := info.UserClaims
	return &keptConn{
		hook: h, server: info.Server, cid: info.CID, kind: info.Kind, connType: info.Type, host: info.Host, clientName: info.Name,
		record: info.Record, user: info.User, tlsSubject: info.TLSSubject,
		subject: uc.Subject, userName: uc.Name, issuer: uc.Issuer, tags: slices.Clone(uc.Tags),
		claim: grant.UserClaim, solicited: info.Solicited, scoped: info.Scoped,
	}
}

// attachAgain is the Again of an attachment.
func (k *keptConn) attachAgain(account natsserver.AttachedAccount) (natsserver.Attachment, error) {
	info := k.info(account)
	conn := policyConn(info, rulesOf(info.Headers))
	conn.UserClaim = k.claim
	_, att, err := k.hook.attachment(info, conn, info.Headers)
	return att, err
}

// info returns what the server told about the connection, now in that account and with the present
// configuration. The claims are only those that decide what a connection gets.
func (k *keptConn) info(account natsserver.AttachedAccount) *natsserver.AttachInfo {
	claims := &jwt.UserClaims{ClaimsData: jwt.ClaimsData{Subject: k.subject, Name: k.userName, Issuer: k.issuer}}
	claims.Tags = k.tags
	return &natsserver.AttachInfo{
		Server: k.server, CID: k.cid, Kind: k.kind, Type: k.connType, Host: k.host, Name: k.clientName, Record: k.record,
		User: k.user, TLSSubject: k.tlsSubject, Solicited: k.solicited, Scoped: k.scoped,
		AttachedAccount: account, Headers: k.server.HeadersBlock(), UserClaims: claims,
	}
}
