package claim

import (
	"runtime"
	"strings"
	"testing"
)

// hostile are payloads of a JWT that repeat one unit. They are meant to be expensive to read.
var hostile = map[string]struct{ head, unit, tail string }{
	"headers":            {`{"nats":{"headers":{`, `"A":"x",`, `"B":"y"}}}`},
	"headers in headers": {`{"a":`, `{"headers":`, `0`},
	"objects for JWTs":   {`{"a":1`, `,"jwt":{"headers":{"A":"x"}}`, `}`},
	"lookalikes":         {`{"nats":{`, `"header1":{"Headers":1},`, `"x":1}}`},
	"escapes":            {`{"nats":{"headers":{"A":"`, `\u0041`, `"}}}`},
	"half pairs":         {`{"nats":{"headers":{"A":"`, `\ud834`, `"}}}`},
	"values":             {`{"nats":{"headers":{"A":[`, `"x",`, `"y"]}}}`},
	"permissions":        {`{"nats":{"header_permissions":{"publish":{"allow":[`, `"X-*",`, `"Y"]}}}}`},
	"scopes":             {`{"nats":{"signing_keys":[`, `{"key":"AK","template":{"headers":{"A":"x"}}},`, `0]}}`},
	"open":               {`{"header":`, `[`, ``},
	"tokens in a text":   {`{"header":"`, `eyJ.eyJ.x `, `"}`},
}

// The maker of a JWT chooses its content. Reading and masking it must not allocate more than in proportion to its size.
func TestReadingIsLinear(t *testing.T) {
	for name, h := range hostile {
		for what, read := range map[string]func(token, data string){
			"FromUserJWT":    func(token, _ string) { _, _ = FromUserJWT(token, MaxLimits) },
			"FromAccountJWT": func(token, _ string) { _, _ = FromAccountJWT(token, "AK", MaxLimits) },
			"Lookalikes":     func(token, _ string) { Lookalikes(token) },
			"Redact":         func(token, _ string) { Redact(token) },
			"RedactText":     func(_, data string) { RedactText([]byte(data)) },
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				var before uint64
				for _, size := range []int{1 << 14, 1 << 15, 1 << 16, 1 << 17} {
					data := h.head + strings.Repeat(h.unit, size/len(h.unit)) + h.tail
					token := rawToken(data)
					now := allocated(func() { read(token, data) })
					if before > 0 && now > 3*before+(1<<16) {
						t.Errorf("%d bytes are allocated for %d, %d for half of it", now, size, before)
					}
					before = now
				}
			})
		}
	}
}

// Each nested token is at least a quarter shorter than the one around it, so all of them together are at most four times
// as long as the outermost.
func TestMaskingNestedTokensIsLinear(t *testing.T) {
	token := rawToken(`{"headers":{"A":"x"}}`)
	for len(token) < 1<<18 {
		token = rawToken(`{"headers":{"A":"` + strings.Repeat("x", len(token)/8) + `"},"jwt":"` + token + `"}`)
		now := allocated(func() { Redact(token) })
		if limit := uint64(80*len(token)) + 1<<16; now > limit {
			t.Errorf("%d bytes are allocated for %d, expected at most %d", now, len(token), limit)
		}
	}
}

// allocated returns how many bytes do allocates.
func allocated(do func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	do()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}
