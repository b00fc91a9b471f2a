package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"stamp/internal/callout/session"
)

// A server of a cluster that does not have a key refers the client to another one. The source does not follow: it cannot tell
// whether there is a session, and says why. It must not call the session unknown.
func TestCluster(t *testing.T) {
	node := func() *process {
		return startRedis(t, "--port", "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(freePort(t)))
	}
	one, other := node(), node()
	one.do(t, "", "CLUSTER", "ADDSLOTSRANGE", 0, 8191)
	other.do(t, "", "CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
	one.do(t, "", "CLUSTER", "MEET", "127.0.0.1", other.port, other.args[len(other.args)-3])
	s := open(t, fmt.Sprintf("url: %q", one.url()))
	seen := map[string]bool{}
	for end := time.Now().Add(timeout); time.Now().Before(end) && !seen["MOVED"]; time.Sleep(10 * time.Millisecond) {
		for i := range 8 { // some of them are at the other one
			_, err := find(t, s, fmt.Sprint("s3cret", i))
			if errors.Is(err, session.ErrUnknown) {
				seen["unknown"] = true
				continue
			}
			if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), strconv.Itoa(other.port)) {
				t.Fatalf("expected an error that shows neither the password nor the other server; found %v", err)
			}
			for _, code := range []string{"MOVED", "CLUSTERDOWN"} {
				if strings.Contains(err.Error(), code) {
					seen[code] = true
				}
			}
			if strings.Contains(err.Error(), "MOVED") && !strings.Contains(err.Error(), "one of a cluster") {
				t.Errorf("the error does not say that the server is one of a cluster: %v", err)
			}
		}
	}
	if !seen["MOVED"] || !seen["unknown"] {
		t.Errorf("expected a key that is elsewhere and one that is unknown; found %v", seen)
	}
}

// The server's errors about a user's rights and a wrong password get a text of ours that says what to do.
func TestRights(t *testing.T) {
	p := startRedis(t, "")
	p.do(t, "", "ACL", "SETUSER", "reader", "on", ">s3cret", "~sess:*", "+get", "+ping")
	for fields, want := range map[string]string{
		`username: reader, password: s3cret`:    "NOPERM: the user needs the commands get, hgetall, pttl and ping",
		`username: reader, password: "s3cret2"`: "WRONGPASS: the user name or the password is wrong",
	} {
		_, err := find(t, open(t, fmt.Sprintf("url: %q, %s", p.url(), fields)), "a")
		if err == nil || errors.Is(err, session.ErrUnknown) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: expected the error %q without the password; found %v", strings.ReplaceAll(fields, "s3cret", "x"), want, err)
		}
	}
	p.do(t, "", "CONFIG", "SET", "requirepass", "s3cret")
	if _, err := find(t, open(t, fmt.Sprintf("url: %q", p.url())), "a"); err == nil || !strings.Contains(err.Error(), "NOAUTH: the server requires a password") {
		t.Errorf("expected NOAUTH without a password; found %v", err)
	}
}
