package hook

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
	"stamp/server/policy"
	"stamp/server/stamp"
)

// conn is what one connection publishes with.
type conn struct {
	stamp     *stamp.Stamp
	unstamped []string // beginnings of subjects on which nothing is added
	names     []string
	count     *shard
	forgery   forger
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

// Subjects on which nothing is added to a message, by what they begin with. Servers talk to each other
// there: a header would break what they say, or stop it where it grows above a limit. Lines that are the
// server's to write are removed there as everywhere. A message without the stamp is nobody's, so that
// whoever gives a subject of his own such a name gains nothing.
var (
	// always: a snapshot of a stream is written to the stream's files as it comes, header and all, and ends
	// with an empty message (upstream, jetstream_api.go, processStreamRestore); raft's messages are bytes of
	// its own, and have no header block (raft.go).
	always = []string{"$JS.SNAPSHOT.RESTORE.", "$NRG."}
	// overLeafnodes: what a mirror or a source gets from a stream on the other side (stream.go,
	// setupMirrorConsumer). A stored message that fits the limits must fit them here too, or it is asked for
	// again and again.
	overLeafnodes = append(slices.Clip(always), "$JS.M.", "$JS.S.")
	// ofSystem: answers, and what servers behind a leafnode tell the system account, which reads some of it
	// without looking for a header.
	ofSystem = []string{"$", "_INBOX.", "_R_", "_GR_"}
)

// unstampedSubjects are those of one connection.
func unstampedSubjects(info *natsserver.AttachInfo) []string {
	switch {
	case info.System:
		return ofSystem
	case info.Kind == natsserver.LEAF:
		return overLeafnodes
	}
	return always
}

// adds tells whether lines are put on a message.
func (c *conn) adds(m *natsserver.PublishedMessage) bool {
	if m.Fixed || !c.stamp.Adds() {
		return false
	}
	return !slices.ContainsFunc(c.unstamped, func(begin string) bool {
		return len(m.Subject) >= len(begin) && string(m.Subject[:len(begin)]) == begin
	})
}

// Rewrite implements natsserver.Rewriter.
func (c *conn) Rewrite(dst []byte, m *natsserver.PublishedMessage) ([]byte, error) {
	adds := c.adds(m)
	if !adds && len(m.Header) == 0 {
		return dst, nil
	}
	var report stamp.Report
	var out []byte
	var err error
	if adds {
		out, err = c.stamp.AppendReport(dst, m.Subject, m.Header, &report)
	} else {
		out, err = c.stamp.Strip(dst, m.Header, &report)
	}
	switch {
	case err != nil:
		c.count.refused.Add(1)
		c.forgery.refused(err)
		return out, err
	case report.Stripped > 0:
		c.count.stripped.Add(uint64(report.Stripped))
		c.forgery.stripped(&report)
	}
	if adds {
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
	ours         bool   // the configuration has a callout block
	forwardedFor string // the end of X-Forwarded-For, empty without one
}

var _ natsserver.ConnRecord = (*upgrade)(nil)

// Upgrade implements natsserver.Extension.
func (h *Hook) Upgrade(o *natsserver.Options, r *http.Request) natsserver.ConnRecord {
	if r == nil {
		return noUpgrade
	}
	u := &upgrade{forwardedFor: policy.JoinForwardedFor(r.Header.Values("X-Forwarded-For"))}
	if cfg := calloutConfig(o); cfg != nil {
		u.told, u.ours = cfg.Request.Pick(r), true
		if isMQTT(r) {
			// Upstream puts the cookie into the CONNECT of NATS alone.
			u.told.AddTokenCookie(r, o.Websocket.TokenCookie)
		}
	}
	u.told.Websocket = true
	return u
}

// isMQTT tells whether the websocket is to carry MQTT (websocket.go, wsUpgrade).
func isMQTT(r *http.Request) bool {
	return r.URL != nil && strings.HasSuffix(r.URL.EscapedPath(), "/mqtt")
}

// noUpgrade is kept of a connection that is no websocket.
var noUpgrade = &upgrade{}

// RefusesDuplicates implements natsserver.ConnRecord.
func (u *upgrade) RefusesDuplicates() bool { return u.ours }

// Duplicate implements natsserver.ConnRecord.
func (u *upgrade) Duplicate(r *http.Request, cookie string) bool {
	return forwarded.HasDuplicateCookie(r, cookie)
}

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
