package claim

import (
	"fmt"
	"strings"
	"testing"
)

func TestLookalikes(t *testing.T) {
	for _, tt := range []struct{ payload, want string }{
		{`{"nats":{"headers":{"Header":"x","headers":"y"},"header_permissions":{}}}`, ""},
		{`{"headers":{"A":"x"},"nats":{"tags":["header:x"]}}`, ""},
		{`{"nats":{"header":{"A":"SECRET"}}}`, `"header"`},
		{`{"header":{"A":"SECRET"}}`, `"header"`},
		{`{"nats":{"HeaderPermissions":{}}}`, `"HeaderPermissions"`},
		{`{"nats":{"pub":{"Headers":{"A":"SECRET"}},"x":[{"h\u0065aders":1}]}}`, `"Headers" "headers"`},
		{`{"nats":{"header":1,"header":2}}`, `"header"`},
		{`{"nats":{"header":1}`, ""},
		{`{"nats":{"header` + strings.Repeat("x", 100) + `":1}}`, fmt.Sprintf("%q...", "header"+strings.Repeat("x", 58))},
	} {
		if got := strings.Join(Lookalikes(rawToken(tt.payload)), " "); got != tt.want {
			t.Errorf("Lookalikes of %s = %s, want %s", tt.payload, got, tt.want)
		}
		if _, got, err := ReadUserJWT(rawToken(tt.payload), Limits{}); err == nil && strings.Join(got, " ") != tt.want {
			t.Errorf("ReadUserJWT of %s returns the lookalikes %s, want %s", tt.payload, got, tt.want)
		}
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `"header%d":1,`, i)
	}
	if n := len(Lookalikes(rawToken(`{"nats":{` + many.String() + `"x":1}}`))); n != maxLookalikes {
		t.Errorf("Lookalikes returned %d keys of 100, want %d", n, maxLookalikes)
	}
}

func TestAccountLookalikes(t *testing.T) {
	for _, tt := range []struct{ payload, want string }{
		{`{"nats":{"signing_keys":["A",{"key":"B","template":{"headers":{"Header":"x"},"header_permissions":{}}}],"mappings":{"header.a":[]}}}`, ""},
		{`{"nats":{"signing_keys":[{"template":{"header":{"A":"SECRET"}}}]}}`, `"header"`},
		{`{"nats":{"signing_keys":[{"template":{"Header_s":{"A":"SECRET"},"pub":{"headers":1}}}]}}`, `"Header_s" "headers"`},
		{`{"nats":{"signing_keys":[{"headers":{"A":"SECRET"},"template":{}}]}}`, `"headers"`},
		{`{"headers":{"A":"SECRET"},"nats":{"header_permissions":{},"x":{"header":1}}}`, `"headers" "header_permissions"`},
		{`{"nats":{"signing_keys":[{"template":{"header":1}}]}`, ""},
		{`{"nats":{"signing_keys":{"header":1}},"x":"header"}`, ""},
	} {
		if got := strings.Join(AccountLookalikes(rawToken(tt.payload)), " "); got != tt.want {
			t.Errorf("AccountLookalikes of %s = %s, want %s", tt.payload, got, tt.want)
		}
	}
}
