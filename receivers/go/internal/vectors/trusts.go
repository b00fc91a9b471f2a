package vectors

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stamp.example/receivers/go/internal/wire"
)

// whiteSpace is what Unicode calls White_Space. Languages do not agree on more: for some U+001C or U+FEFF is a space.
var whiteSpace = []rune{
	0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
	0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
}

// notSubjects look like subjects with wildcards, or have characters that no subject on which a header is stamped has. The server refuses them where
// a rule has subjects, since such a rule would protect nothing.
var notSubjects = []string{
	`"pay*"`, `"*pay"`, `"payments>"`, `"payments.*new"`, `"a.>b"`, `"**"`, `">>"`, `"a.**"`, `"a.*>"`, `"a\u001cb"`, `"a\u001fb"`, `"a\u0000"`, `"a\u007f"`, `"a\ufffd"`,
	`"\ud800"`, `"a.\udc00"`, `"a\ud800.b"`, `"\udc00\ud800"`,
}

// notAccounts cannot be the value of Stamp-Account, so no message is of such an account. A surrogate alone is no character: some parsers of JSON
// put U+FFFD in its place, and others leave it.
var notAccounts = []string{
	`""`, `" "`, `"\t"`, `" APP"`, `"APP "`, `"APP\n"`, `"APP\t"`, `"\u00a0APP"`, `"APP\u3000"`, `"\ufeffAPP"`, `"APP\ufeff"`, `"A\u0000P"`, `"A\nP"`, `"A\u001fP"`,
	`"A\u007fP"`, `"A\u0085P"`, `"A\u009fP"`, `"A\u2028P"`, `"A\u2029P"`, `"A\ufffdP"`, `"\ud800"`, `"A\udfff"`, `"\udc00\ud800"`,
}

// oddAccounts are unusual, but such an account can be.
var oddAccounts = []string{
	`"$G"`, `"A B"`, `"A\tP"`, `"A.P"`, `">"`, `"*A"`, `"\u00fc"`, `"A\u00a0P"`, `"A\ufeffP"`, `"\ud83d\ude00"`, `"__proto__"`, `"constructor"`, `"A\"P"`,
}

// oddSubjects are unusual, but a server stamps messages on such subjects.
var oddSubjects = []string{`"*"`, `">"`, `"*.*.>"`, `"$SYS.a"`, `"\u00fc.\ud83d\ude00"`, `"a\ufeffb"`, `"a\u200bb"`, `"__proto__"`, `"a\"b"`}

// notNumbers are no whole numbers from 0 to a hundred years in seconds.
var notNumbers = []string{
	"-1", "0.5", "-0.5", "1e-1", "59.999", "-1e0", "-9223372037", "-18446744073", "-9223372036854775808", "-1e300", "3162240001", "9223372037", "9223372036854775808",
	"18446744073709551616", "1e19", "1e400", "-1e400", "true", "false", `""`, `"5"`, `"0x5"`, "[]", "[5]", "{}",
}

// notNames are no names of headers.
var notNames = []string{`""`, `" "`, `"X User"`, `" X-User"`, `"X-User "`, `"X-User\n"`, `"X\u0000"`, `"X:"`, `"X-Us\u00e9r"`, `"\ufeffX"`, `"\ud800"`, `"X\udc00"`, `"(X)"`, "5", "true", "[]", "{}"}

// notKeys are neither public keys nor seeds.
var notKeys = []string{`""`, `" "`, `"\ud800"`, `"X\ud800"`, `"\u0000"`, `"X"`, `"N"`, `"SX"`, `"X\u00c4"`, `"N====="`, "5", "true", "[]", "{}"}

// GoodTrust is a trust that a receiver takes.
type GoodTrust struct {
	Name  string          `json:"name"`
	Trust json.RawMessage `json:"trust"`
}

// GoodTrusts returns trusts whose numbers are whole, in each way in which JSON can write them, and trusts with unusual texts.
func GoodTrusts() (good []GoodTrust) {
	for _, number := range []string{"0", "-0", "60", "60.0", "6e1", "6E+1", "600e-1", "3162240000"} {
		text := fmt.Sprintf(`{"user": "X-User", "accounts": {"APP": [">"]}, "max_age": %s, "servers": [%q], "replays": 1e2}`, number, server(signA))
		good = append(good, GoodTrust{"max_age " + number, json.RawMessage(text)})
	}
	add := func(name, account, subject, signed string) {
		text := fmt.Sprintf(`{"user": "X-User", "accounts": {%s: [%s, %[2]s]}, "servers": [%[4]q], "signed": [%[3]s, %[3]s]}`, account, subject, signed, server(signA))
		good = append(good, GoodTrust{name, json.RawMessage(text)})
	}
	for _, account := range oddAccounts {
		add("the account "+account, account, `"a"`, `"a"`)
	}
	for _, subject := range oddSubjects {
		add("the subject "+subject, `"APP"`, subject, subject)
	}
	// Nobody can sign for it, so it does no harm, and no library can be asked at once whether it is a point.
	noPoint := wire.EncodeServer(wire.Key{2})
	good = append(good, GoodTrust{"a server that signs whose key is no point", json.RawMessage(`{"user": "X-User", "accounts": {"APP": ["a"]}, "servers": ["` + noPoint + `"]}`)})
	long := strings.Repeat("X", 10_000)
	add("long texts", strconv.Quote(long), strconv.Quote(long), strconv.Quote(long))
	return append(good, GoodTrust{"a long name", json.RawMessage(`{"user": "` + long + `", "one": ["` + long + `Y"]}`)})
}

// BadText is the JSON of a trust that has a name twice. Only a receiver that reads the text itself can see that.
type BadText struct {
	Name  string `json:"name"`
	Text  string `json:"text"`
	Field string `json:"field"`
}

// BadTexts returns texts that have a name twice, or more than one value.
func BadTexts() []BadText {
	return []BadText{
		{"two users", `{"user": "X-User", "user": "X-User"}`, "user"},
		{"two users, one of them escaped", `{"user": "X-User", "us\u0065r": "X-User"}`, "user"},
		{"two objects accounts", `{"user": "X-User", "accounts": {"OLD": [">"]}, "accounts": {"APP": ["orders.>"]}}`, "accounts"},
		{"two accounts of one name", `{"user": "X-User", "accounts": {"APP": [">"], "APP": ["orders.>"]}}`, "APP"},
		{"two lists signed", `{"user": "X-User", "accounts": {"APP": [">"]}, "servers": ["` + server(signA) + `"], "signed": [">"], "signed": []}`, "signed"},
		{"two trusts", `{"user": "X-User"} {"user": "X-User"}`, ""},
		{"a trust that is cut off", `{"user": "X-User"`, ""},
		{"a list", `[{"user": "X-User"}]`, ""},
		{"a text", `"user"`, ""},
		{"a byte order mark", "\ufeff" + `{"user": "X-User"}`, ""},
		{"two accounts of one name, one of them escaped", `{"user": "X-User", "accounts": {"A\"P": [">"], "A\u0022P": ["orders.>"]}}`, `A`},
		{"two accounts of one name, with another one between", `{"user": "X-User", "accounts": {"APP": [">", "{"], "B": ["a"], "APP": ["a"]}}`, `APP`},
		{"nothing", ``, ""},
	}
}

// BadTrust is a trust that a receiver must refuse.
type BadTrust struct {
	Name  string          `json:"name"`
	Trust json.RawMessage `json:"trust"`
	Field string          `json:"field,omitempty"` // which the error names
}

// BadTrusts returns trusts that do not hold.
func BadTrusts() []BadTrust {
	var bad []BadTrust
	add := func(name, text string) { bad = append(bad, BadTrust{Name: name, Trust: json.RawMessage(text)}) }
	named := func(field, name, text string) { bad = append(bad, BadTrust{name, json.RawMessage(text), field}) }
	quote := func(s string) string { return `"` + s + `"` }
	x, n, sx := quote(curve(serverA)), quote(server(signA)), quote(curveSeed(app))
	const accounts = `"accounts": {"APP": [">"]}`
	with := func(name, fields string) { add(name, `{"user": "X-User", `+accounts+`, `+fields+`}`) }
	servers := func(name, list string) {
		named("servers", name, `{"user": "X-User", `+accounts+`, "servers": [`+list+`], "keys": [`+sx+`]}`)
	}
	keys := func(name, list string) {
		named("keys", name, `{"user": "X-User", `+accounts+`, "servers": [`+x+`, `+n+`], "keys": [`+list+`]}`)
	}
	add("nothing", `{}`)
	add("a user of provenance", `{"user": "Stamp-Account"}`)
	add("an unknown field", `{"user": "X-User", "server": []}`)
	for _, field := range []string{"User", "USER", "u\u017fer"} {
		add(fmt.Sprintf("the field %+q", field), `{"`+field+`": "X-User"}`)
		add(fmt.Sprintf("the field %+q after it", field), `{"user": "X-User", "`+field+`": "X-Other"}`)
	}
	add("a field with a hyphen", `{"user": "X-User", "max-age": 5}`)
	add("one is no list", `{"user": "X-User", "one": "X-Tenant"}`)
	add("a name twice", `{"user": "X-User", "one": ["X-Tenant", "x_tenant"]}`)
	add("a name twice, in two lists", `{"user": "X-User", "one": ["X-Tenant"], "many": ["X.Tenant"]}`)
	add("the user again", `{"user": "X-User", "many": ["x-user"]}`)
	add("the proof as a header", `{"user": "X-User", "one": ["Stamp-Proof"]}`)
	add("the forwarded proof as a header", `{"user": "X-User", "one": ["stamp_forwarded_proof"]}`)
	add("the time as a header", `{"user": "X-User", "many": ["Stamp.Time"]}`)
	add("servers without accounts", `{"user": "X-User", "servers": [`+n+`]}`)
	add("servers with empty accounts", `{"user": "X-User", "servers": [`+n+`], "accounts": {}}`)
	add("keys without servers", `{"user": "X-User", `+accounts+`, "keys": [`+sx+`]}`)
	add("keys with empty servers", `{"user": "X-User", `+accounts+`, "servers": [], "keys": [`+sx+`]}`)
	add("replays without servers", `{"user": "X-User", `+accounts+`, "replays": 5}`)
	add("max_age without accounts", `{"user": "X-User", "max_age": 5}`)
	with("signed without servers", `"signed": ["a"]`)
	with("signed without a server that signs", `"servers": [`+x+`], "keys": [`+sx+`], "signed": ["a"]`)
	for _, subjects := range []string{`[""]`, `["a", "a..b"]`, `["a b"]`, `[">.a"]`, `"a"`, `[1]`} {
		with("signed "+subjects, `"servers": [`+n+`], "signed": `+subjects)
	}
	with("max_skew without max_age", `"max_skew": 5`)
	for _, number := range notNumbers {
		named("max_age", "max_age "+number, `{"user": "X-User", `+accounts+`, "max_age": `+number+`}`)
		named("max_skew", "max_skew "+number, `{"user": "X-User", `+accounts+`, "max_age": 5, "max_skew": `+number+`}`)
		named("replays", "replays "+number, `{"user": "X-User", `+accounts+`, "servers": [`+n+`], "replays": `+number+`}`)
	}
	with("more replays than can be", `"servers": [`+n+`], "replays": 8000001`)
	for _, subjects := range []string{`[]`, `[""]`, `["a..b"]`, `[".a"]`, `["a."]`, `["a b"]`, `["a\tb"]`, `[">.a"]`, `["a.>.b"]`, `"a"`} {
		add("subjects "+subjects, `{"user": "X-User", "accounts": {"APP": `+subjects+`}}`)
	}
	for _, subject := range notSubjects {
		named("accounts", "a subject that is none, "+subject, `{"user": "X-User", "accounts": {"APP": [`+subject+`]}}`)
		named("signed", "signed that is no subject, "+subject, `{"user": "X-User", `+accounts+`, "servers": [`+n+`], "signed": ["a", `+subject+`]}`)
	}
	for _, space := range whiteSpace {
		subjects, _ := json.Marshal([]string{"a" + string(space) + "b"})
		add(fmt.Sprintf("a subject with the white space U+%04X", space), `{"user": "X-User", "accounts": {"APP": `+string(subjects)+`}}`)
	}
	for _, account := range notAccounts {
		named("accounts", "an account that is none, "+account, `{"user": "X-User", "accounts": {"APP": ["a"], `+account+`: ["a"]}}`)
	}
	for _, name := range notNames {
		named("user", "a user that is no name, "+name, `{"user": `+name+`}`)
		named("one", "one that is no name, "+name, `{"user": "X-User", "one": ["X-Tenant", `+name+`]}`)
		named("many", "many that is no name, "+name, `{"user": "X-User", "many": ["X-Tenant", `+name+`]}`)
	}
	for _, key := range notKeys {
		servers("a server that is no key, "+key, n+`, `+key)
		keys("a key that is no seed, "+key, sx+`, `+key)
	}
	servers("a server that is a seed", sx)
	servers("a server that is empty", `""`)
	servers("a server of another type", quote("U"+curve(serverA)[1:]))
	servers("a server with a wrong checksum", quote(curve(serverA)[:50]+"AAAAAA"))
	servers("a server in small letters", strings.ToLower(x))
	servers("a server that is too short", quote(curve(serverA)[:55]))
	servers("a server that is too long", quote(curve(serverA)+"A"))
	servers("a server with white space", quote(curve(serverA)+" "))
	servers("a server with a line break", quote(curve(serverA)+`\n`))
	servers("a server twice", x+`, `+x)
	servers("a server whose key has a small order", quote(smallOrder))
	for _, k := range weakKeys() {
		with("a server that signs whose key is "+k.name, `"servers": [`+quote(wire.EncodeServer(k.key))+`]`)
	}
	keys("a key that is public", x)
	keys("a key for signing", quote(serverSeed(signA)))
	keys("a key with a wrong checksum", quote(curveSeed(app)[:50]+"AAAAAAAA"))
	keys("a key with bits after its last byte", quote(trailing(curveSeed(app))))
	keys("a key twice", sx+`, `+sx)
	return append(bad, nullTrusts()...)
}

// nullTrusts returns trusts that have a null in each place.
func nullTrusts() (bad []BadTrust) {
	add := func(field, value string) {
		fields := map[string]string{
			"user": `"X-User"`, "accounts": `{"APP": [">"]}`, "max_age": "5",
			"servers": `["` + curve(serverA) + `", "` + server(signA) + `"]`, "keys": `["` + curveSeed(app) + `"]`,
		}
		fields[field] = value
		var text []string
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			text = append(text, fmt.Sprintf("%q: %s", name, fields[name]))
		}
		bad = append(bad, BadTrust{field + " " + value, json.RawMessage("{" + strings.Join(text, ", ") + "}"), field})
	}
	for _, field := range []string{"user", "one", "many", "accounts", "max_age", "max_skew", "servers", "keys", "signed", "replays"} {
		add(field, "null")
	}
	for _, field := range []string{"one", "many", "servers", "keys", "signed"} {
		add(field, "[null]")
		add(field, "{}")
	}
	for _, accounts := range []string{`[]`, `"APP"`, `5`, `{"APP": null}`, `{"APP": [null]}`, `{"APP": {}}`, `{"APP": ["a", null]}`, `{"APP": {"a": "a"}}`} {
		add("accounts", accounts)
	}
	add("user", "5")
	add("user", `["X-User"]`)
	return append(bad, BadTrust{Name: "null", Trust: json.RawMessage("null")})
}

// weakKey is a key for Ed25519 that no server has.
type weakKey struct {
	name string
	key  wire.Key
}

// weakKeys returns the points of small order, for which anybody can sign, and encodings that are not the shortest. Each is there
// with both signs of x, also where only one is an encoding of the point.
func weakKeys() (keys []weakKey) {
	add := func(name string, first byte, hexRest string) {
		rest, err := hex.DecodeString(hexRest)
		if err != nil || len(rest) != len(wire.Key{})-1 {
			panic(name)
		}
		for sign, of := range []string{"", ", with the sign"} {
			key := wire.Key(append([]byte{first}, rest...))
			key[len(key)-1] |= byte(sign) << 7
			keys = append(keys, weakKey{name + of, key})
		}
	}
	zeros, ones := strings.Repeat("00", 31), strings.Repeat("ff", 30)+"7f"
	add("of small order: y is 0", 0, zeros)
	add("of small order: y is 1", 1, zeros)
	add("of small order: y is p-1", 0xec, ones)
	add("of small order: order 8", 0x26, "e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
	add("of small order: order 8, the other y", 0xc7, "176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
	add("not canonical: y is p", 0xed, ones)
	add("not canonical: y is p+1", 0xee, ones)
	add("not canonical: y is p+3", 0xf0, ones)
	add("not canonical: y is 2^255-1", 0xff, ones)
	return keys
}

// trailing changes a bit of the last character of a seed that is not one of its bytes.
func trailing(seed string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	last := strings.IndexByte(alphabet, seed[len(seed)-1])
	return seed[:len(seed)-1] + alphabet[last^1:last^1+1]
}
