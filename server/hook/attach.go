package hook

import (
	"bytes"
	"net/http"
	"strconv"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
	"stamp/server/claim"
	"stamp/server/policy"
	"stamp/server/stamp"
)

// conn is what one connection publishes with.
type conn struct {
	stamp   *stamp.Stamp
	count   *shard
	forgery forger
}

// Attach implements natsserver.InboundHook.
func (h *Hook) Attach(info natsserver.InboundInfo) (natsserver.InboundAttachment, error) {
	r := rules(info.Options)
	grant, err := r.For(described(info, r))
	if err != nil {
		h.counters.refusedConnections.Add(1)
		return natsserver.InboundAttachment{}, err
	}
	if err := h.renewable(info, grant); err != nil {
		h.counters.refusedConnections.Add(1)
		return natsserver.InboundAttachment{}, err
	}
	for _, name := range grant.LeftOut {
		info.Server.Warnf("cid:%d - Header %q left out: headers.protected binds it to other accounts than %q", info.CID, name, info.Account)
	}
	if len(grant.Names) > 0 {
		h.counters.stampedConnections.Add(1)
	}
	att := natsserver.InboundAttachment{Names: grant.Names, Private: h.callout.isOwn(info.User)}
	if grant.Stamp != nil {
		att.Conn = &conn{stamp: grant.Stamp, count: h.counters.shard(info.CID), forgery: h.forgery.of(info)}
	}
	if grant.Seal != nil {
		att.Reader = h.readers.of(h, grant.Seal)
	}
	if grant.CheckReplies {
		att.Replies = replies{}
	}
	return att, nil
}

// renewable has a connection renewed that a callout let in: by our handler, or with a claim. With
// others, a connection ends with its user JWT, as upstream's does.
func (h *Hook) renewable(info natsserver.InboundInfo, grant *policy.Grant) error {
	if info.Asked.IsZero() || info.UserClaims == nil {
		return nil
	}
	if _, ours := forwarded.SessionOf(info.UserClaims.Tags); !ours && !grant.Claimed {
		return nil
	}
	return h.renewals.server(info.Server, &h.counters).attach(info)
}

// described is what policy needs to know of a connection.
func described(info natsserver.InboundInfo, r *policy.Rules) policy.Conn {
	kept, _ := info.Upgrade.(upgrade)
	c := policy.Conn{
		System:     info.System,
		MQTT:       info.Type == "mqtt",
		Solicited:  info.Solicited,
		Account:    info.Account,
		UserJWT:    info.UserJWT,
		Scoped:     info.Scoped,
		AccountJWT: info.AccountJWT,
		Vars: policy.Vars{
			Name: info.User, Subject: info.User,
			AccountName: info.AccountName, AccountSubject: info.Account, AccountTags: info.AccountTags,
			ClientIP: r.ClientIP(info.Host, kept.forwardedFor), ClientID: strconv.FormatUint(info.CID, 10),
			ConnectionType: info.Type, ServerName: info.Server.Name(), ServerID: info.Server.ID(),
			TLSSubject: info.TLSSubject,
		},
	}
	c.User, _ = info.UserHeaders.(*claim.Claim)
	if info.Kind == natsserver.LEAF {
		c.Vars.ConnectionType = "leafnode"
	}
	if c.Vars.AccountName == "" {
		c.Vars.AccountName = info.Account
	}
	if uc := info.UserClaims; uc != nil {
		c.SigningKey = uc.Issuer
		c.Vars.Name, c.Vars.Subject, c.Vars.Tags = uc.Name, uc.Subject, uc.Tags
	}
	return c
}

// restoreSubjects begin the subjects that a snapshot of a stream is sent to. What comes there is written
// to the stream's files as it is, header and all, and ends with an empty message (upstream,
// jetstream_api.go, processStreamRestore).
var restoreSubjects = []byte("$JS.SNAPSHOT.RESTORE.")

// Rewrite implements natsserver.InboundConn.
func (c *conn) Rewrite(dst, subject, hdr []byte) ([]byte, error) {
	if len(hdr) == 0 && bytes.HasPrefix(subject, restoreSubjects) {
		return dst, nil
	}
	var report stamp.Report
	out, err := c.stamp.AppendReport(dst, subject, hdr, &report)
	switch {
	case err != nil:
		c.count.refused.Add(1)
		c.forgery.refused(err)
		return out, err
	case report.Stripped > 0:
		c.count.stripped.Add(uint64(report.Stripped))
		c.forgery.stripped(report.Name)
	}
	if c.stamp.Adds() {
		c.count.stamped.Add(1)
		c.count.bytes.Add(uint64(len(out) - len(dst)))
	}
	return out, nil
}

// Growth implements natsserver.InboundConn.
func (c *conn) Growth() int { return c.stamp.MaxLen() }

// upgrade is what is kept of a websocket's upgrade request.
type upgrade struct {
	told         forwarded.Request
	forwardedFor []string
}

// maxForwardedFor is how many bytes of X-Forwarded-For are kept; of more, none.
const maxForwardedFor = 1024

// Upgrade implements natsserver.InboundCalloutHook.
func (h *Hook) Upgrade(o *natsserver.Options, r *http.Request) (kept any, refuseTwice bool) {
	var u upgrade
	size := 0
	for _, v := range r.Header.Values("X-Forwarded-For") {
		u.forwardedFor = append(u.forwardedFor, v)
		size += len(v)
	}
	if size > maxForwardedFor {
		u.forwardedFor = nil
	}
	cfg := calloutConfig(o)
	if cfg != nil {
		u.told = cfg.Request.Pick(r)
	}
	return u, cfg != nil
}
