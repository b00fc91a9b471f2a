package hook

import (
	"bytes"
	"cmp"
	"net/http"
	"strconv"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
	"stamp/server/policy"
	"stamp/server/stamp"
)

// conn is what one connection publishes with.
type conn struct {
	stamp   *stamp.Stamp
	names   []string
	count   *shard
	forgery forger
}

var _ natsserver.ExtendedRewriter = (*conn)(nil)

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
	grant, err := rulesOf(block).For(described)
	if err != nil {
		return nil, natsserver.Attachment{}, err
	}
	for _, name := range grant.LeftOut {
		info.Server.Warnf("cid:%d - Header %q left out: headers.protected binds it to other accounts than %q", info.CID, name, info.Account)
	}
	att := natsserver.Attachment{Private: keys.isOwn(info.User), CheckReplies: grant.CheckReplies}
	if grant.Stamp != nil {
		att.Rewriter = &conn{stamp: grant.Stamp, names: grant.Names, count: h.counters.shard(info.CID), forgery: h.forgery.of(info)}
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

// restoreSubjects begin the subjects that a snapshot of a stream is sent to. What comes there is written
// to the stream's files as it is, header and all, and ends with an empty message (upstream,
// jetstream_api.go, processStreamRestore).
var restoreSubjects = []byte("$JS.SNAPSHOT.RESTORE.")

// Rewrite implements natsserver.Rewriter.
func (c *conn) Rewrite(dst []byte, m *natsserver.PublishedMessage) ([]byte, error) {
	if len(m.Header) == 0 && (m.Fixed || !c.stamp.Adds() || bytes.HasPrefix(m.Subject, restoreSubjects)) {
		return dst, nil
	}
	var report stamp.Report
	out, err := c.stamp.AppendReport(dst, m.Subject, m.Header, &report)
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

// Growth implements natsserver.Rewriter.
func (c *conn) Growth() int { return c.stamp.MaxLen() }

// Names implements natsserver.ExtendedRewriter.
func (c *conn) Names() []string { return c.names }

// Strips implements natsserver.ExtendedRewriter.
func (c *conn) Strips(name string) bool { return c.stamp.Strips(name) }

// upgrade is what is kept of a websocket's upgrade request.
type upgrade struct {
	told         forwarded.Request
	ours         bool // the configuration has a callout block
	forwardedFor []string
}

var _ natsserver.ConnRecord = (*upgrade)(nil)

// maxForwardedFor is how many bytes of X-Forwarded-For are kept; of more, none.
const maxForwardedFor = 1024

// Upgrade implements natsserver.Extension.
func (h *Hook) Upgrade(o *natsserver.Options, r *http.Request) natsserver.ConnRecord {
	if r == nil {
		return noUpgrade
	}
	u := &upgrade{}
	size := 0
	for _, v := range r.Header.Values("X-Forwarded-For") {
		u.forwardedFor = append(u.forwardedFor, v)
		size += len(v)
	}
	if size > maxForwardedFor {
		u.forwardedFor = nil
	}
	if cfg := calloutConfig(o); cfg != nil {
		u.told, u.ours = cfg.Request.Pick(r), true
	}
	return u
}

// noUpgrade is kept of a connection that is no websocket.
var noUpgrade = &upgrade{}

// RefusesDuplicates implements natsserver.ConnRecord.
func (u *upgrade) RefusesDuplicates() bool { return u.ours }

// CalloutTags implements natsserver.ConnRecord. A renewal is told to every handler; the rest to
// ours, which the configuration has a block for.
func (u *upgrade) CalloutTags(o *natsserver.Options, fromCookie, renewal bool) (tags []string, ours bool) {
	ours = calloutConfig(o) != nil
	if !ours && !renewal {
		return nil, false
	}
	told := u.told
	told.FromCookie, told.Renewal = fromCookie, renewal
	return []string{told.Tag()}, ours
}
