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

// A server of a cluster that does not have the key sends the client to another one. The source does not follow: it cannot
// tell, and says why. Neither may it be unknown that a session is there.
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
				t.Fatalf("got %v", err)
			}
			for _, code := range []string{"MOVED", "CLUSTERDOWN"} {
				if strings.Contains(err.Error(), code) {
					seen[code] = true
				}
			}
			if strings.Contains(err.Error(), "MOVED") && !strings.Contains(err.Error(), "one of a cluster") {
				t.Errorf("no reason: %v", err)
			}
		}
	}
	if !seen["MOVED"] || !seen["unknown"] {
		t.Errorf("seen: %v", seen)
	}
}

// What an answer of the server means that is no text of its own: the rights of a user, and a password that is wrong.
func TestRights(t *testing.T) {
	p := startRedis(t, "")
	p.do(t, "", "ACL", "SETUSER", "reader", "on", ">s3cret", "~sess:*", "+get", "+ping")
	for fields, want := range map[string]string{
		`username: reader, password: s3cret`:    "NOPERM: the user needs the commands get, hgetall, pttl and ping",
		`username: reader, password: "s3cret2"`: "WRONGPASS: the user name or the password is wrong",
	} {
		_, err := find(t, open(t, fmt.Sprintf("url: %q, %s", p.url(), fields)), "a")
		if err == nil || errors.Is(err, session.ErrUnknown) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", strings.ReplaceAll(fields, "s3cret", "x"), err)
		}
	}
	p.do(t, "", "CONFIG", "SET", "requirepass", "s3cret")
	if _, err := find(t, open(t, fmt.Sprintf("url: %q", p.url())), "a"); err == nil || !strings.Contains(err.Error(), "NOAUTH: the server requires a password") {
		t.Errorf("without a password: %v", err)
	}
}
