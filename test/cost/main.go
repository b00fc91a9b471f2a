// Command cost runs every function that reads what strangers send, on inputs that are made to be expensive, and prints how much
// work each took: the function, the input, its size in bytes, the statements that were executed, and the bytes that searches
// visited. It is built with counters of all statements (go build -cover), and with package counted in place of the standard
// library's searches: see TestCostIsLinear.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/coverage"
	"slices"
	"strings"

	"stamp.example/claim"
	"stamp/internal/callout/forwarded"
	"stamp/internal/conf"
	"stamp/internal/policy"
	"stamp/internal/redact"
	"stamp/internal/stamp"
	"stamp/test/cost/counted"
)

func main() {
	log.SetFlags(0)
	hunted := flag.Int("hunt", 0, "how many random inputs are tried")
	flag.Parse()
	all := append(slices.Clip(inputs), random(*hunted)...)
	for _, f := range functions() {
		for _, in := range all {
			for _, size := range []int{small, large} {
				statements, visited, err := measure(f.run, in.make(size))
				if err != nil {
					log.Fatal(err)
				}
				fmt.Println(f.name, in.name, size, statements, visited)
			}
		}
	}
}

// Sizes of the inputs, in bytes.
const (
	small = 2 << 10
	large = 8 * small
)

// measure returns how many blocks of statements run executes for an input, and how many bytes its searches visit.
func measure(run func(string), input string) (statements, visited uint64, err error) {
	run(input) // what is made once and kept
	if err := coverage.ClearCounters(); err != nil {
		return 0, 0, err
	}
	counted.Bytes = 0
	run(input)
	visited = uint64(counted.Bytes)
	var counters bytes.Buffer
	if err := coverage.WriteCounters(&counters); err != nil {
		return 0, 0, err
	}
	statements, err = sum(counters.Bytes())
	return statements, visited, err
}

// input makes one of a size, in bytes.
type input struct {
	name string
	make func(size int) string
}

// repeated returns begin, followed by repetitions of part, and end, of a given size.
func repeated(begin, part, end string) func(int) string {
	return func(size int) string {
		return begin + strings.Repeat(part, max(0, size-len(begin)-len(end))/len(part)) + end
	}
}

const (
	blockStart  = "NATS/1.0\r\n"
	storedStart = `{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{`
)

// inputs are given to every function, whatever it reads.
var inputs = []input{
	{"one-byte", repeated("", "a", "")},
	{"returns", repeated(blockStart, "\r", "")},
	{"feeds", repeated(blockStart, "\n", "")},
	{"short-lines", repeated(blockStart, "a:\r\n", "\r\n")},
	{"hidden-lines", repeated(blockStart, "Session: x\r\n", "\r\n")},
	{"long-name", repeated(blockStart, "a", ": x\r\n\r\n")},
	{"long-prefix", repeated(blockStart, "X-", ": x\r\n\r\n")},
	{"long-value", repeated(blockStart+"A: ", "v", "\r\n\r\n")},
	{"hidden-in-a-line", repeated(blockStart, "Session", ":\n\r\n")},
	{"nearly-hidden", repeated(blockStart, "Sessio", ":\n\r\n")},
	{"colons", repeated(blockStart, ":", "\r\n\r\n")},
	{"status", repeated("NATS/1.0 ", "503 ", "\r\n\r\n")},
	{"aliases", repeated(blockStart, "X_User.X-User: x\r\n", "\r\n")},
	{"not-utf8", repeated(blockStart+"A: ", "\xff\xc2\x85", "\r\n\r\n")},
	{"stored-empty", repeated(storedStart, `"hdrs":"",`, `}}`)},
	{"stored-open", repeated(storedStart, `"hdrs":"`, ``)},
	{"stored-block", repeated(storedStart, `"hdrs":"`+encoded(blockStart+"Session: x\r\n\r\n")+`",`, `}}`)},
	{"stored-odd-base64", repeated(storedStart, `"hdrs":"====",`, `}}`)},
	{"stored-data", repeated(storedStart, `"data":"eyJ0eXBlIjoi",`, `}}`)},
	{"stored-within-stored", nested},
	{"json-arrays", repeated("", "[", "")},
	{"json-objects", repeated("", `{"headers":`, "")},
	{"json-names", names(`{"headers":{`, `"N%d":"x"`, `}}`)},
	{"json-claims", names(`{"nats":{"headers":{`, `"N%d":"x"`, `}}}`)},
	{"json-values", repeated(`{"headers":{"A":["x"`, `,"x"`, `]}}`)},
	{"json-subjects", repeated(`{"headers":{"A":{"value":"x","subjects":["a.>"`, `,"b.>"`, `]}}}`)},
	{"json-same-keys", repeated(`{"headers":{"A":"x"`, `,"A":"x"`, `}}`)},
	{"json-escapes", repeated(`{"headers":{"A":"`, `\u0041`, `"}}`)},
	{"json-backslashes", repeated(`{"headers":{"A":"`, `\\`, `"}}`)},
	{"json-surrogates", repeated(`{"headers":{"A":"`, `\ud834`, `"}}`)},
	{"json-look-alikes", names(`{"nats":{`, `"header%d":{}`, `}}`)},
	{"json-scopes", names(`{"nats":{"signing_keys":[`, `{"key":"A%d","template":{"headers":{"A":"x"}}}`, `]}}`)},
	{"json-same-scopes", repeated(`{"nats":{"signing_keys":["AK"`, `,{"key":"AK","template":{"headers":{"A":"x"}}}`, `]}}`)},
	{"json-scope-keys", repeated(`{"nats":{"signing_keys":[{"key":"AK"`, `,"key":"AK"`, `}]}}`)},
	{"json-scope-look-alikes", names(`{"nats":{"signing_keys":[{"template":{`, `"header%d":{}`, `}}]}}`)},
	{"json-mappings", repeated(`{"nats":`, `{"mappings":`, ``)},
	{"json-closed-mappings", closedMappings},
	{"json-digits", repeated(`{"headers":`, `1`, `}`)},
	{"json-spaces", repeated(`{"headers":`, ` `, `{}}`)},
	{"tokens", repeated("", "eyJ", "")},
	{"tokens-apart", repeated("", "eyJ. ", "")},
	{"dots", repeated("", ".", "")},
	{"commas", repeated("", ",", "")},
	{"addresses", repeated("", "10.0.0.1, ", "10.0.0.1")},
	{"brackets", repeated("", "[", "")},
	{"list-names", names("", "N%d", "")},
	{"list-patterns", names("", "N%d*", "")},
	{"list-long-names", longNames("")},
	{"list-long-patterns", longNames("*")},
	{"list-same", repeated("", "Session,", "Session")},
	{"list-subjects", names("", "a.%d", "")},
	{"list-wildcards", repeated("", "*.a.>,", "a")},
	{"cookies", repeated("", "session=x; ", "")},
	{"semicolons", repeated("", ";", "")},
	{"quotes", repeated("", `"`, "")},
	{"template-functions", repeated("", "{{client-ip()}}", "")},
	{"template-starts", repeated("", "{{", "")},
	{"template-arguments", repeated("{{tag(", "a", ")}}")},
}

// random makes new inputs from parts of the known ones. Their names say what they are.
func random(n int) []input {
	parts := []string{blockStart, storedStart, "\r\n", "\r", "\n", ":", " ", "a", "Session", "X-", "_", "-", ".", ",", "[", "]", "{", "}", "\"", "\\", "\\u00",
		`"hdrs":"`, `"data":"`, `"headers":`, `"nats":`, "eyJ", "eyJ0eXBlIjoi", "=", "%", "10.0.0.1", "{{", "}}", "tag(", "*", ">", "\x00", "\xff", "\u0085", "503"}
	pick := func(most int) string {
		var b strings.Builder
		for range rand.IntN(most + 1) {
			b.WriteString(parts[rand.IntN(len(parts))])
		}
		return b.String()
	}
	made := make([]input, n)
	for i := range made {
		begin, part, end := pick(3), pick(4)+parts[rand.IntN(len(parts))], pick(2)
		made[i] = input{"repeated:" + url.QueryEscape(fmt.Sprintf("%q, %q, %q", begin, part, end)), repeated(begin, part, end)}
	}
	return made
}

// closedMappings are mappings in mappings.
func closedMappings(size int) string {
	n := size / len(`{"mappings":}`)
	return strings.Repeat(`{"mappings":`, n) + `{"headers":1}` + strings.Repeat("}", n)
}

// longNames has names that begin with all the shorter ones.
func longNames(end string) func(int) string {
	return func(size int) string {
		var b strings.Builder
		for i := 1; b.Len() < size; i++ {
			b.WriteString(strings.Repeat("a", i) + end + ",")
		}
		return b.String() + "a"
	}
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// names has many different ones.
func names(begin, form, end string) func(int) string {
	return func(size int) string {
		var b strings.Builder
		b.WriteString(begin)
		for i := 0; b.Len()+len(end) < size; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, form, i)
		}
		return b.String() + end
	}
}

// nested is an answer with a stored message that is an answer with one, and so on.
func nested(size int) string {
	text := storedStart + `"hdrs":"` + encoded(blockStart+"Session: x\r\n\r\n") + `"}}`
	for len(text)*4/3+len(storedStart)+20 < size {
		text = storedStart + `"data":"` + encoded(text) + `"}}`
	}
	return text + strings.Repeat(" ", max(0, size-len(text)))
}

// function reads what a stranger sends.
type function struct {
	name string
	run  func(string)
}

func functions() []function {
	hidden := must(stamp.NewRuleSet("Session", "X-*", "Authorization-Of-Somebody"))
	stamped := must(stamp.Compile([]stamp.Header{{Name: "X-User", Values: []string{"alice"}}, {Name: "N", Values: []string{"1"}, Subjects: []string{"a.>"}}},
		stamp.Options{Strip: []*stamp.NameSet{hidden}, Provenance: true, Account: "APP"}))
	seal := stamp.NewSeal(hidden)
	rules := parseRules(`headers { protected: [Session, "X-*"], trusted_proxies: ["10.0.0.0/8"], all: {"X-IP": "{{client-ip()}}"} }`)
	list := forwarded.List{Headers: []string{"X-Forwarded-For"}, Cookies: []string{"session"}}
	vars := policy.Vars{Name: "u", ClientIP: "::1"}
	made := 0
	receive := newReceiver()
	return []function{
		{"receivers.Identify", receive.identify},
		{"receivers.Identify-proof", receive.proof},
		{"receivers.Identify-entries", receive.entries},
		{"receivers.Forwarded", receive.forwarded},
		{"stamp.Append", func(in string) { stamped.Append(nil, []byte("a.b"), []byte(in)) }},
		{"stamp.Append-subject", func(in string) { stamped.Append(nil, []byte(in), nil) }},
		{"stamp.Strip", func(in string) { stamped.Strip(nil, []byte(in), &stamp.Report{}) }},
		{"stamp.Strips", func(in string) { stamped.Strips(in) }},
		{"stamp.NewNameSet", func(in string) {
			made++ // else the seal of the run before may be kept, or not
			if set, err := stamp.NewNameSet(append(strings.Split(in, ","), fmt.Sprint("made", made))...); err == nil {
				stamp.NewSeal(set).Cut(nil, []byte("NATS/1.0\r\nA b\r\n")) // makes the automaton
			}
		}},
		{"stamp.Compile", func(in string) {
			st, err := stamp.Compile([]stamp.Header{{Name: "A", Values: strings.Split(in, ","), Subjects: strings.Split(in, ",")}}, stamp.Options{})
			if err == nil {
				st.Append(nil, []byte("b.c.d"), []byte("NATS/1.0\r\n\r\n"))
			}
		}},
		{"stamp.Compile-names", func(in string) {
			var headers []stamp.Header
			for _, name := range strings.Split(in, ",") {
				headers = append(headers, stamp.Header{Name: name, Values: []string{"x"}, Subjects: []string{"a." + name}})
			}
			if st, err := stamp.Compile(headers, stamp.Options{}); err == nil {
				st.Append(nil, []byte("a.b"), []byte("NATS/1.0\r\nB: x\r\n\r\n"))
			}
		}},
		{"stamp.Cut", func(in string) { seal.Cut(nil, []byte(in)) }},
		{"redact.StoredAnswer", func(in string) { redact.StoredAnswer(seal, []byte(in)) }},
		{"redact.TracePayload", func(in string) { redact.TracePayload([]byte(in)) }},
		{"redact.TraceBlock", func(in string) { redact.TraceBlock(nil, []byte(in)) }},
		{"claim.FromUserJWT", func(in string) { claim.FromUserJWT(token(in), claim.MaxLimits) }},
		{"claim.Lookalikes", func(in string) { claim.Lookalikes(token(in)) }},
		{"claim.FromAccountJWT", func(in string) { claim.FromAccountJWT(token(in), "AK", claim.MaxLimits) }},
		{"claim.AccountLookalikes", func(in string) { claim.AccountLookalikes(token(in)) }},
		{"claim.Redact", func(in string) { claim.Redact(token(in)) }},
		{"claim.RedactText", func(in string) { claim.RedactText([]byte(in)) }},
		{"claim.FromConfig", func(in string) { claim.FromConfig(map[string]any{in: in}, nil, claim.MaxLimits) }},
		{"policy.JoinForwardedFor", func(in string) { policy.JoinForwardedFor(strings.SplitAfter(in, " ")) }},
		{"policy.ClientIP", func(in string) { rules.ClientIP("10.0.0.2", policy.JoinForwardedFor([]string{in})) }},
		{"policy.GrantFor-template", func(in string) {
			cl := &claim.Claim{Headers: []claim.Header{{Name: "A", Values: []string{in}}}}
			rules.GrantFor(policy.Conn{Account: "APP", User: cl, Vars: vars})
		}},
		{"policy.GrantFor-JWT", func(in string) {
			rules.GrantFor(policy.Conn{Account: "APP", UserJWT: token(in), Vars: vars})
		}},
		{"policy.GrantFor-account", func(in string) {
			made++ // else what was read of the account JWT may be kept, or not
			rules.GrantFor(policy.Conn{Account: in + fmt.Sprint(made), UserJWT: token("{}"), Scoped: true, SigningKey: "AK", AccountJWT: token(in), Vars: vars})
		}},
		{"policy.GrantFor-permissions", func(in string) {
			list := strings.Split(in, ",")
			cl := &claim.Claim{Headers: []claim.Header{{Name: "A", Values: []string{"x"}}}, Publish: list, Subscribe: list}
			rules.GrantFor(policy.Conn{Account: "APP", User: cl, Vars: vars})
		}},
		{"policy.GrantFor-tags", func(in string) {
			with := vars
			with.Tags = strings.Split(in, ",")
			cl := &claim.Claim{Headers: []claim.Header{{Name: "A", Values: []string{"{{tag(a)}}"}}}}
			rules.GrantFor(policy.Conn{Account: "APP", User: cl, Vars: with})
		}},
		{"policy.GrantFor-tag-calls", func(in string) {
			with := vars
			with.Tags = append(strings.Split(in, ","), "a:v")
			for i := range len(in) / 16 {
				with.Tags = append(with.Tags, fmt.Sprintf("t%d:v", i))
			}
			cl := &claim.Claim{Headers: []claim.Header{{Name: "A", Values: []string{calls(len(in))}}}}
			rules.GrantFor(policy.Conn{Account: "APP", User: cl, Vars: with})
		}},
		{"policy.GrantFor-lines", func(in string) {
			with := vars
			for i := range 64 {
				with.Tags = append(with.Tags, fmt.Sprint("a:", i))
			}
			cl := &claim.Claim{Headers: []claim.Header{{Name: "A", Values: []string{"{{tag(a)}}" + in}}}}
			rules.GrantFor(policy.Conn{Account: "APP", User: cl, Vars: with})
		}},
		{"forwarded.Pick", func(in string) {
			list.Pick(&http.Request{Header: http.Header{"Cookie": {in}, "X-Forwarded-For": {in}}}).Tag()
		}},
		{"forwarded.FromTags", func(in string) {
			text, _ := json.Marshal(in)
			forwarded.FromTags([]string{"stamp-request:" + base64.RawURLEncoding.EncodeToString(text)})
			forwarded.SessionOf(strings.Split(in, "."))
		}},
		{"quadratic", quadratic},
		{"quadratic-search", quadraticSearch},
	}
}

// calls is a template of that size with calls of one tag and of many others.
func calls(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "{{tag(a)}}{{tag(t%d)}}", i)
	}
	return b.String()
}

// token is a JWT with that payload, whose signature nobody looks at here.
func token(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".x"
}

func parseRules(text string) *policy.Rules {
	var faults conf.Faults
	rules := policy.ParseRules(must(conf.ParseString(text)).Get("headers"), &faults)
	if err := faults.Err(); err != nil {
		log.Fatal(err)
	}
	return rules
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
