package claim

import (
	"errors"
	"fmt"
	"testing"
)

func TestFromAccountJWT(t *testing.T) {
	scope := func(key, template string) string {
		return fmt.Sprintf(`{"kind":"user_scope","key":%q,"role":"r","template":{%s}}`, key, template)
	}
	account := func(keys string) string {
		return `{"iss":"O","nats":{"signing_keys":[` + keys + `],"limits":{},"type":"account","version":2}}`
	}
	a := scope("AK", `"headers":{"A":"{{name()}}"},"pub":{},"header_permissions":{"subscribe":{"allow":["A"]}}`)
	want := one("A", "{{name()}}")
	want.Subscribe = []string{"A"}
	tests := []struct {
		name, payload string
		want          *Claim
		err           error
	}{
		{"scope", account(`"AX",` + a + `,` + scope("AY", `"headers":null`)), want, nil},
		{"template before key", account(`{"template":{"headers":{"A":"x"}},"key":"AK"}`), one("A", "x"), nil},
		{"plain key", account(`"AK",` + scope("AY", `"headers":{"A":"x"}`)), nil, nil},
		{"no template", account(scope("AK", `"pub":{}`) + `,` + scope("AY", `"headers":{"A":"x"}`)), nil, nil},
		{"empty", account(scope("AK", `"headers":{}`)), nil, nil},
		{"other shapes", account(`null,1,["headers"],{"key":1},{"key":"AK","template":["headers"]}`), nil, nil},
		{"keys no list", `{"nats":{"signing_keys":{"headers":{}}}}`, nil, nil},
		{"headers elsewhere", `{"headers":{"A":"x"},"nats":{"headers":{"A":"x"},"signing_keys":["AK"]}}`, nil, nil},
		{"invalid", account(scope("AK", `"headers":{"A":1}`)), nil, ErrValueForm},
		{"two scopes", account(a + `,` + scope("AK", `"pub":{}`)), nil, ErrSigningKey},
		{"scope and plain key", account(a + `,"AK"`), nil, ErrSigningKey},
		{"plain key and scope", account(`"A\u004b",` + a), nil, ErrSigningKey},
		{"plain key twice", account(`"AK","AK",` + scope("AY", `"headers":{"A":"x"}`)), nil, nil},
		{"two keys", account(`{"key":"AK","key":"AY","template":{"headers":{"A":"x"}}}`), nil, ErrKeyTwice},
		{"Key", account(`{"Key":"AK","template":{"headers":{"A":"x"}}}`), nil, ErrKeyCase},
		{"two templates", account(`{"key":"AK","template":{"headers":{"A":"x"}},"template":{}}`), nil, ErrKeyTwice},
		{"Template", account(`{"key":"AK","Template":{"headers":{"A":"x"}}}`), nil, ErrKeyCase},
		{"two lists", `{"nats":{"signing_keys":[` + a + `],"signing_keys":[]}}`, nil, ErrKeyTwice},
		{"Signing_Keys", `{"nats":{"Signing_Keys":[` + a + `]}}`, nil, ErrKeyCase},
		{"two nats", `{"nats":{"signing_keys":[` + a + `]},"nats":{}}`, nil, ErrKeyTwice},
		{"trailing", account(a) + `x`, nil, ErrTrailing},
		{"syntax", account(a + `,`), nil, ErrJSON},
	}
	for _, tt := range tests {
		got, err := FromAccountJWT(rawToken(tt.payload), "AK", Limits{})
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) || !same(got, tt.want) {
			t.Errorf("%s: error %v, want %v; claim as wanted: %t", tt.name, err, tt.err, same(got, tt.want))
		}
	}
	if _, err := FromAccountJWT("x", "AK", Limits{}); !errors.Is(err, ErrToken) {
		t.Errorf("a text that is no token: error %v, want %v", err, ErrToken)
	}
}
