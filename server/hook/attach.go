package hook

import (
	"cmp"
	"strconv"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/forwarded"
	"stamp/internal/policy"
)

// Attach implements natsserver.Extension.
func (h *Hook) Attach(info *natsserver.AttachInfo) (natsserver.Attachment, error) {
	conn := policyConn(info, rulesOf(info.Headers))
	grant, att, err := h.attachment(info, conn, info.Headers)
	if err == nil {
		err = h.scheduleRenewal(info, grant)
	}
	if err != nil {
		h.counters.refusedConnections.Add(1)
		return natsserver.Attachment{}, err
	}
	if len(grant.Names) > 0 {
		h.counters.stampedConnections.Add(1)
	}
	if info.KeepsAuthentication {
		att.Again = newKeptConn(h, info, grant).attachAgain
	}
	return att, nil
}

// attachment returns what a connection gets with a headers block.
func (h *Hook) attachment(info *natsserver.AttachInfo, conn policy.Conn, block natsserver.ConfigValue) (*policy.Grant, natsserver.Attachment, error) {
	if keys.isOwn(info.User) {
		// This is a connection of the callout handler, which is a part of the server.
		return &policy.Grant{}, natsserver.Attachment{Private: true}, nil
	}
	grant, err := rulesOf(block).GrantFor(conn)
	if err != nil {
		return nil, natsserver.Attachment{}, err
	}
	h.warnAboutClaim(info, grant)
	att := natsserver.Attachment{CheckReplies: grant.CheckReplies}
	if grant.Stamp != nil {
		att.Rewriter = &rewriter{
			stamp: grant.Stamp, unstamped: unstampedSubjects(info), proofs: newProofs(grant),
			count: h.counters.shard(info.CID), forgeries: newForgeryReporter(&h.forgeries, info),
		}
	} else if info.Type == "mqtt" && (block != nil || grant.HasClaim || isOurSession(info)) {
		att.Rewriter = unchanged{}
	}
	if grant.Seal != nil {
		att.Filter = h.sealFilters.get(grant.Seal, &h.counters)
	}
	return grant, att, nil
}

// scheduleRenewal schedules the renewal of a connection that an auth callout authenticated,
// if the callout handler is ours or its answer has a headers claim. Any other connection is
// closed when its user JWT expires, as in a stock server.
func (h *Hook) scheduleRenewal(info *natsserver.AttachInfo, grant *policy.Grant) error {
	r, called := h.renewer(info.Server), !info.Asked.IsZero() && info.UserClaims != nil
	// Before a second CONNECT it may have been somebody else.
	if !called || !isOurSession(info) {
		r.sessions.remove(info.CID)
	}
	if !called {
		h.userKeys.remove(info.CID)
		return nil
	}
	if err := h.userKeys.add(info); err != nil {
		return err
	}
	if !isOurSession(info) && !grant.HasClaim {
		return nil
	}
	return r.add(info)
}

// isOurSession reports whether one of our callout handlers has authenticated the connection.
func isOurSession(info *natsserver.AttachInfo) bool {
	if info.UserClaims == nil {
		return false
	}
	_, ours := forwarded.SessionOf(info.UserClaims.Tags)
	return ours
}

// policyConn describes a connection to package policy.
func policyConn(info *natsserver.AttachInfo, r *policy.Rules) policy.Conn {
	record, _ := info.Record.(*upgrade)
	if record == nil {
		record = noUpgrade
	}
	conn := policy.Conn{
		MQTT:       info.Type == "mqtt",
		Leafnode:   info.Kind == natsserver.LEAF,
		Solicited:  info.Solicited,
		System:     info.System,
		Account:    info.Account,
		UserJWT:    info.UserJWT,
		Scoped:     info.Scoped,
		AccountJWT: info.AccountJWT,
		Vars: policy.Vars{
			Name: info.User, Subject: info.User,
			AccountName: cmp.Or(info.AccountName, info.Account), AccountSubject: info.Account, AccountTags: info.AccountTags,
			ClientIP: r.ClientIP(info.Host, record.forwardedFor), ClientID: strconv.FormatUint(info.CID, 10),
			ConnectionType: info.Type, ServerName: info.Server.Name(), ServerID: info.Server.ID(),
			TLSSubject: info.TLSSubject,
		},
	}
	if u, ok := info.UserHeaders.(userHeaders); ok {
		conn.User = u.Claim
	}
	if info.Kind == natsserver.LEAF {
		conn.Vars.ConnectionType = "leafnode"
	}
	if uc := info.UserClaims; uc != nil {
		conn.SigningKey = uc.Issuer
		conn.Vars.Name, conn.Vars.Subject, conn.Vars.Tags = uc.Name, uc.Subject, uc.Tags
	}
	return conn
}
