package hook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// accountJWT returns an account JWT with these signing keys. It has no valid signature.
func accountJWT(keys ...string) string {
	payload := `{"sub":"AX","nats":{"signing_keys":[` + strings.Join(keys, ",") + `]}}`
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".e30"
}

func TestLostTemplates(t *testing.T) {
	scope := func(key, template string) string {
		return fmt.Sprintf(`{"kind":"user_scope","key":%q,"role":"r","template":{%s}}`, key, template)
	}
	const headers, permissions = `"headers":{"A":"x"}`, `"header_permissions":{"publish":{"allow":["A"]}}`
	both := headers + "," + permissions
	for _, test := range []struct {
		name        string
		before, now []string
		want        string
	}{
		{"nothing there before", []string{scope("K", "")}, []string{scope("K", "")}, ""},
		{"unchanged", []string{scope("K", both)}, []string{scope("K", `"subs":3,`+both)}, ""},
		{"added", []string{scope("K", "")}, []string{scope("K", both)}, ""},
		{"another value", []string{scope("K", headers)}, []string{scope("K", `"headers":{"B":"y"}`)}, ""},
		{"both lost", []string{scope("K", both)}, []string{scope("K", `"subs":3`)}, "[{K r true true}]"},
		{"headers lost", []string{scope("K", both)}, []string{scope("K", permissions)}, "[{K r true false}]"},
		{"permissions lost", []string{scope("K", both)}, []string{scope("K", headers)}, "[{K r false true}]"},
		{"null", []string{scope("K", headers)}, []string{scope("K", `"headers":null`)}, "[{K r true false}]"},
		{"emptied on purpose", []string{scope("K", headers)}, []string{scope("K", `"headers":{}`)}, ""},
		{"empty before", []string{scope("K", `"headers": { }`)}, []string{scope("K", "")}, ""},
		{"key removed", []string{scope("K", both)}, []string{`"L"`}, ""},
		{"key without a scope now", []string{scope("K", both)}, []string{`"K"`}, ""},
		{"two of three", []string{`"P"`, scope("K", headers), scope("L", headers), scope("M", headers)},
			[]string{scope("M", headers), scope("L", ""), scope("K", ""), `"P"`}, "[{K r true false} {L r true false}]"},
	} {
		got := ""
		if lost := lostTemplates(accountJWT(test.before...), accountJWT(test.now...)); len(lost) > 0 {
			got = fmt.Sprint(lost)
		}
		if got != test.want {
			t.Errorf("%s: lost templates %q, want %q", test.name, got, test.want)
		}
	}
	for _, broken := range []string{"", "a", "a.b.c", "e30.e30.e30", "a.!.c", "e30." + base64.RawURLEncoding.EncodeToString([]byte("[")) + ".x"} {
		if lost := lostTemplates(broken, accountJWT()); len(lost) > 0 {
			t.Errorf("the JWT %q cannot be read, yet lost templates are reported: %v", broken, lost)
		}
		_ = lostTemplates(accountJWT(scope("K", both)), broken)
	}
}

func TestAccountUpdate(t *testing.T) {
	before := accountJWT(`{"key":"K","role":"r","template":{"headers":{"Session":"s3cret"}}}`)
	after := accountJWT(`{"key":"K","role":"r","template":{}}`)
	h, s := New(), inert(t)
	if err := h.AccountUpdate(s, "AX", before, after); err != nil {
		t.Errorf("the update was refused without keep_template_headers: %v", err)
	}
	keep := parsedServer(t, "headers { keep_template_headers: true }")
	err := h.AccountUpdate(keep, "AX", before, after)
	if !errors.Is(err, errTemplatesLost) || !strings.Contains(err.Error(), "signing key K") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("expected the update to be refused, with the signing key and without values; found %v", err)
	}
	for _, now := range []string{before, accountJWT()} {
		if err := h.AccountUpdate(keep, "AX", before, now); err != nil {
			t.Errorf("an update that loses nothing was refused: %v", err)
		}
	}
	if err := h.AccountUpdate(keep, "AX", "", after); err != nil {
		t.Errorf("the first JWT of an account was refused: %v", err)
	}
}

// parsedServer returns a server with this configuration, which is never started.
func parsedServer(t *testing.T, text string) *natsserver.Server {
	t.Helper()
	Install()
	t.Cleanup(func() { natsserver.SetConfigParser(nil) })
	o := &natsserver.Options{NoLog: true, NoSigs: true}
	if err := o.ProcessConfigString(text); err != nil {
		t.Fatal(err)
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
