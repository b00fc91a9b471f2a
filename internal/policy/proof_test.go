package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stamp.example/claim"
	"stamp/internal/proof"
	"stamp/test/proven"
)

func proofKeys(t *testing.T) (keys *proven.Keys, file string) {
	t.Helper()
	keys, err := proven.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "proof.nk")
	if err := os.WriteFile(file, []byte(keys.ServerSeeds), 0o600); err != nil {
		t.Fatal(err)
	}
	return keys, file
}

// A pattern that some stampable header could match is taken.
func TestProofEncryptPatterns(t *testing.T) {
	keys, file := proofKeys(t)
	for _, pattern := range []string{"*", "S*", "Stamp*", "Stamps", "Status*", "Traceparent*", "X-*", "X-B*", "X-B3*"} {
		mustParse(t, fmt.Sprintf(`proof { key_file: %q, receivers: {APP: %q}, encrypt: [%q] }`, file, keys.Receiver, pattern))
	}
}

func TestProofGrants(t *testing.T) {
	keys, file := proofKeys(t)
	r := mustParse(t, fmt.Sprintf(`proof { key_file: %q, receivers: {APP: %q}, encrypt: ["Sess*"], sign: ["audit.>"] }`, file, keys.Receiver))
	if !r.Provenance {
		t.Error("proofs do not turn provenance on")
	}
	may := func(headers []claim.Header, names ...string) *claim.Claim {
		return &claim.Claim{Headers: headers, Publish: names}
	}
	session, user := configured("Session", "v").Headers, configured("X-User", "v").Headers
	names := []string{"Stamp-Account", "Stamp-Subject", "Stamp-Time"}
	for _, tt := range []struct {
		name   string
		conn   Conn
		proven bool
		err    error
	}{
		{"encrypted", Conn{Account: "APP", User: may(session)}, true, nil},
		{"no receiver", Conn{Account: "OTHER", User: may(session)}, false, ErrNotEncrypted},
		{"no receiver, signed", Conn{Account: "OTHER", User: may(user)}, true, nil},
		{"MQTT", Conn{Account: "OTHER", MQTT: true, User: may(session)}, false, ErrNotEncrypted},
		{"no headers", Conn{Account: "APP"}, false, nil},
		{"leafnode", Conn{Account: "APP", Leafnode: true, User: may(session)}, true, nil},
		{"leafnode, without the name of proofs", Conn{Account: "APP", Leafnode: true, User: may(session, names...)}, true, nil},
		{"leafnode that proves", Conn{Account: "APP", Leafnode: true, User: may(user, "Stamp-*")}, false, nil},
		{"leafnode that proves, encrypted", Conn{Account: "APP", Leafnode: true, User: may(session, "*")}, false, ErrNotEncrypted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := r.GrantFor(tt.conn)
			if !errors.Is(err, tt.err) {
				t.Fatal(err)
			}
			if err == nil && (g.Prover != nil) != tt.proven {
				t.Errorf("the grant has a prover: %t, want %t", g.Prover != nil, tt.proven)
			}
			if err == nil && g.Stamp != nil && !g.Stamp.Strips("stamp_proof") != strings.HasSuffix(tt.name, "that proves") {
				t.Errorf("Stamp-Proof of the connection is removed: %v", g.Stamp.Strips("stamp_proof"))
			}
		})
	}
	// Each attachment has a prover of its own, and equal stamps are shared.
	a, err := r.GrantFor(Conn{Account: "APP", User: may(session)})
	b, err2 := r.GrantFor(Conn{Account: "APP", User: may(session)})
	if err = errors.Join(err, err2); err != nil || a.Stamp != b.Stamp || a.Prover == b.Prover {
		t.Errorf("stamps shared %v, provers shared %v, error %v", a.Stamp == b.Stamp, a.Prover == b.Prover, err)
	}
	unsigned := mustParse(t, fmt.Sprintf(`proof { key_file: %q, receivers: {APP: %q} }`, file, keys.Receiver))
	if g, err := unsigned.GrantFor(Conn{Account: "OTHER", User: may(user)}); err != nil || g.Prover != nil {
		t.Errorf("an account with neither receiver nor signatures: grant %v, error %v; want no prover", g, err)
	}
}

func TestProofEqual(t *testing.T) {
	keys, file := proofKeys(t)
	other, otherFile := proofKeys(t)
	text := func(file, receiver, more string) string {
		return fmt.Sprintf(`proof { key_file: %q, receivers: {APP: %q}, %s }`, file, receiver, more)
	}
	first := mustParse(t, text(file, keys.Receiver, ""))
	if !first.Equal(mustParse(t, "\n"+text(file, keys.Receiver, ""))) {
		t.Error("equal blocks count as different")
	}
	for _, changed := range []string{
		text(otherFile, keys.Receiver, ""), text(file, other.Receiver, ""), text(file, keys.Receiver, "encrypt: [A]"),
		text(file, keys.Receiver, `sign: ["a"]`), strings.Replace(text(file, keys.Receiver, ""), "APP", "B", 1), "provenance: true",
	} {
		if r := mustParse(t, changed); first.Equal(r) || r.Equal(first) {
			t.Errorf("rules with another value count as equal: %s", strings.ReplaceAll(changed, file, ""))
		}
	}
	if err := os.WriteFile(file, []byte(other.ServerSeeds), 0o600); err != nil {
		t.Fatal(err)
	}
	if first.Equal(mustParse(t, text(file, keys.Receiver, ""))) {
		t.Error("a block with other keys in the same file counts as equal")
	}
}

func TestProofTooManyNames(t *testing.T) {
	keys, file := proofKeys(t)
	r := mustParse(t, fmt.Sprintf(`max_headers: 2000, max_bytes: 60000, proof { key_file: %q, receivers: {"*": %q} }`, file, keys.Receiver))
	cl := &claim.Claim{}
	for i := range 1000 {
		cl.Headers = append(cl.Headers, claim.Header{Name: fmt.Sprintf("X-%d", i), Values: []string{"v"}})
	}
	if _, err := r.GrantFor(Conn{Account: "APP", User: cl}); !errors.Is(err, proof.ErrTooManyNames) && !errors.Is(err, proof.ErrSameEntry) {
		t.Error(err)
	}
}
