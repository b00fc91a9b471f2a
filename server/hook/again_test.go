package hook

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/internal/callout/forwarded"
)

// calloutInfo returns what the server knows of a connection that our callout handler let in. Each has a user JWT, a session
// and a header value of its own.
func calloutInfo(t *testing.T, s *natsserver.Server, issuer nkeys.KeyPair, cid uint64, headers ...claim.Header) *natsserver.AttachInfo {
	t.Helper()
	uc := jwt.NewUserClaims("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4")
	uc.Name, uc.Expires = fmt.Sprint("user-", cid), time.Now().Add(time.Hour).Unix()
	revision := forwarded.Revision{Bucket: 1e18, Sequence: cid, Written: 1e18}
	uc.Tags = jwt.TagList{forwarded.SessionTag(fmt.Sprintf("kv/%032d", cid)), revision.Tag()}
	uc.Pub.Allow.Add("api.>")
	uc.Sub.Allow.Add(fmt.Sprintf("_INBOX.user-%d.>", cid))
	token, err := claim.Encode(uc, &claim.Claim{Headers: headers}, issuer)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jwt.DecodeUserClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	return &natsserver.AttachInfo{
		Server: s, CID: cid, Kind: natsserver.CLIENT, Type: "nats", Host: "127.0.0.1", User: decoded.Subject, UserJWT: token, UserClaims: decoded,
		KeepsAuthentication: true, Asked: time.Now(), AttachedAccount: natsserver.AttachedAccount{Account: "A"},
	}
}

func accountKey(t *testing.T) nkeys.KeyPair {
	t.Helper()
	key, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func heapBytes() int {
	var m runtime.MemStats
	for range 3 { // what finalizers and weak pointers have released is collected by the next ones
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A server has many idle connections, so the hook must keep little of each: not its user JWT, which has a kilobyte and more.
func TestBytesOfAConnection(t *testing.T) {
	const law, n = 2000, 2000
	h, s, issuer := New(), inert(t), accountKey(t)
	kept := make([]natsserver.Attachment, 0, n)
	attach := func(cid uint64) {
		att, err := h.Attach(calloutInfo(t, s, issuer, cid, claim.Header{Name: "Session", Values: []string{fmt.Sprintf("%032d", cid)}}))
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, att)
	}
	attach(0) // makes what is made once
	before := heapBytes()
	for cid := range uint64(n - 1) {
		attach(cid + 1)
	}
	each := (heapBytes() - before) / (n - 1)
	t.Logf("%d bytes for each connection", each)
	if each >= law {
		t.Errorf("%d bytes for each connection that an auth callout let in; want less than %d", each, law)
	}
	runtime.KeepAlive(kept)
	runtime.KeepAlive(h)
}

// After a reload, which attaches a connection again without its user JWT, the connection gets what it had before.
func TestAttachAgain(t *testing.T) {
	h, s, issuer := New(), inert(t), accountKey(t)
	account := natsserver.AttachedAccount{Account: "A"}
	header := claim.Header{Name: "Session", Values: []string{"x"}}
	again := func(info *natsserver.AttachInfo) (before, after natsserver.Attachment) {
		before, err := h.Attach(info)
		if err != nil {
			t.Fatal(err)
		}
		if after, err = before.Again(account); err != nil {
			t.Fatal(err)
		}
		return before, after
	}

	before, after := again(calloutInfo(t, s, issuer, 1, header))
	a, b := before.Rewriter.(*rewriter), after.Rewriter.(*rewriter)
	if a.stamp != b.stamp {
		t.Error("the connection has another stamp")
	}
	if a.forgeries.client != b.forgeries.client {
		t.Errorf("forgeries are reported of %+v, before of %+v", b.forgeries.client, a.forgeries.client)
	}

	// An MQTT connection to whose messages nothing is added has a rewriter, so that its will is not published when its session ends.
	mqtt := calloutInfo(t, s, issuer, 2)
	mqtt.Type = "mqtt"
	before, after = again(mqtt)
	if before.Rewriter != (unchanged{}) || after.Rewriter != (unchanged{}) {
		t.Errorf("the rewriter of an MQTT connection is %T, and after a reload %T; want unchanged{} both times", before.Rewriter, after.Rewriter)
	}
}
