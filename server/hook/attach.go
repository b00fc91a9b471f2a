package hook

import (
	"cmp"
	"strconv"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
	"stamp/server/policy"
)

// Attach implements natsserver.Extension.
func (h *Hook) Attach(info *natsserver.AttachInfo) (natsserver.Attachment, error) {
	described := describe(info, rulesOf(info.Headers))
	grant, att, err := h.attachment(info, described, info.Headers)
	if err == nil {
		err = h.renewable(info, grant)
	}
	if err != nil {
		h.counters.refusedConnections.Add(1)
		return natsserver.Attachment{}, err
	}
	if len(grant.Names) > 0 {
		h.counters.stampedConnections.Add(1)
	}
	if info.Kept {
		// Without the claims, which are large: what is described is all that counts.
		rest := *info
		rest.UserJWT, rest.UserClaims, rest.AccountJWT = "", nil, ""
		described := described
		described.AccountJWT = "" // Again gets the one of then
		att.Again = func(account natsserver.AttachedAccount) (natsserver.Attachment, error) {
			rest := rest
			rest.AttachedAccount = account
			described := inAccount(described, &rest)
			_, att, err := h.attachment(&rest, described, rest.Server.HeadersBlock())
			return att, err
		}
	}
	return att, nil
}

// attachment is what a connection gets by a headers block.
func (h *Hook) attachment(info *natsserver.AttachInfo, described policy.Conn, block natsserver.ConfigValue) (*policy.Grant, natsserver.Attachment, error) {
	if keys.isOwn(info.User) {
		// The handler inside is a part of the server.
		return &policy.Grant{}, natsserver.Attachment{Private: true}, nil
	}
	grant, err := rulesOf(block).GrantFor(described)
	if err != nil {
		return nil, natsserver.Attachment{}, err
	}
	h.notice(info, grant)
	att := natsserver.Attachment{CheckReplies: grant.CheckReplies}
	if grant.Stamp != nil {
		att.Rewriter = &conn{stamp: grant.Stamp, unstamped: unstampedSubjects(info), names: grant.Names, count: h.counters.shard(info.CID), forgery: h.forgery.of(info)}
	}
	if grant.Seal != nil {
		att.Filter = h.readers.of(h, grant.Seal)
	}
	return grant, att, nil
}

// renewable schedules the renewal of a connection that an auth callout let in, if the callout was our
// handler or its answer has a claim. Any other connection ends when its user JWT expires, as in stock.
func (h *Hook) renewable(info *natsserver.AttachInfo, grant *policy.Grant) error {
	if info.Asked.IsZero() || info.UserClaims == nil {
		return nil
	}
	if err := h.userKeys.attach(info); err != nil {
		return err
	}
	if _, ours := forwarded.SessionOf(info.UserClaims.Tags); !ours && !grant.Claimed {
		return nil
	}
	return h.renewer(info.Server).attach(info)
}

// describe tells policy what it needs to know of a connection.
func describe(info *natsserver.AttachInfo, r *policy.Rules) policy.Conn {
	kept, _ := info.Record.(*upgrade)
	if kept == nil {
		kept = &upgrade{}
	}
	c := policy.Conn{
		MQTT:      info.Type == "mqtt",
		Leafnode:  info.Kind == natsserver.LEAF,
		Solicited: info.Solicited,
		UserJWT:   info.UserJWT,
		Scoped:    info.Scoped,
		Vars: policy.Vars{
			Name: info.User, Subject: info.User,
			ClientIP: r.ClientIP(info.Host, kept.forwardedFor), ClientID: strconv.FormatUint(info.CID, 10),
			ConnectionType: info.Type, ServerName: info.Server.Name(), ServerID: info.Server.ID(),
			TLSSubject: info.TLSSubject,
		},
	}
	if u, ok := info.UserHeaders.(userHeaders); ok {
		c.User = u.Claim
	}
	if info.Kind == natsserver.LEAF {
		c.Vars.ConnectionType = "leafnode"
	}
	if uc := info.UserClaims; uc != nil {
		c.SigningKey = uc.Issuer
		c.Vars.Name, c.Vars.Subject, c.Vars.Tags = uc.Name, uc.Subject, uc.Tags
	}
	return inAccount(c, info)
}

// inAccount is c with what is known of its account.
func inAccount(c policy.Conn, info *natsserver.AttachInfo) policy.Conn {
	c.System, c.Account, c.AccountJWT = info.System, info.Account, info.AccountJWT
	c.Vars.AccountName, c.Vars.AccountSubject, c.Vars.AccountTags = cmp.Or(info.AccountName, info.Account), info.Account, info.AccountTags
	return c
}
