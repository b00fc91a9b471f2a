package grant

import (
	"fmt"
	"strings"
	"testing"

	"github.com/expr-lang/expr/vm"
)

const content = `{"role":"admin","n":42,"big":1234567,"on":true,"off":false,"empty":"","null":null,"roles":["admin","ops"],
	"none":[],"user":{"id":"u1","tags":["a"]},"text":"abc","secret":"S3CRET-VALUE","json":"{\"a\":[1]}"}`

// A condition is true or false for a session, or it refuses.
func TestConditions(t *testing.T) {
	for condition, want := range map[string]string{
		`true`: "true", `session.role == "admin"`: "true", `session.role != "admin"`: "false",
		`session.on`: "true", `session.off`: "false", `not session.off`: "true",
		`session.n > 41 and session.n <= 42`: "true", `session.n == 42`: "true", `session.n == 42.5`: "false",
		`"ops" in session.roles`: "true", `"root" in session.roles`: "false", `session.role in ["admin", "ops"]`: "true",
		`session.text startsWith "a"`: "true", `session.text matches "^a.c$"`: "true", `len(session.roles) == 2`: "true",
		`any(session.roles, # == "ops")`: "true", `all(session.none, # == "x")`: "true",
		`session.user.id == "u1"`: "true", `session["user"]["id"] == "u1"`: "true", `session.user?.id == "u1"`: "true",
		`source == "kv"`: "true", `credential == "c00k1e"`: "true", `request.type == "websocket"`: "true",
		`request.headers["user-agent"] startsWith "Mozilla"`: "true", `request.cookies.theme == "dark"`: "true",
		`"theme" in request.cookies`: "true", `fromJSON(session.json).a[0] == 1`: "true", `string(session.big) == "1234567"`: "true",

		// Nil equals nil alone.
		`session.gone == "x"`: "false", `session.gone != "x"`: "true", `session.gone == nil`: "true", `session.null == nil`: "true",
		`session.gone?.a == nil`: "true", `(session.gone ?? "x") == "x"`: "true", `"x" in session.gone`: "false",
		`session.gone in ["x", ""]`: "false", `session.n in ["x"]`: "false", `session.gone startsWith "a"`: "false",
		`session.gone matches "a"`: "false", `session.gone == true`: "false", `request.cookies.gone == nil`: "true",
		`session.role == 1`: "false", `session.roles == "admin"`: "false",

		// What cannot be judged refuses.
		`session.gone`: "", `session.role`: "", `session.n`: "", `not session.gone`: "", `not session.role`: "", `session.null`: "",
		`session.gone > 1`: "", `session.role > 1`: "", `session.gone.a == 1`: "", `session.role.a == 1`: "",
		`session.roles[5] == "x"`: "", `len(session.gone) == 0`: "", `session.n startsWith "4"`: "", `session.gone or true`: "",
		`session.roles contains "admin"`: "", `"a" in session.text`: "", `any(session.gone, true)`: "", `"x" in session.n`: "",
		`int(session.text) == 1`: "", `fromJSON(session.text) == 1`: "", `len(1..20000) > 1`: "", `session.n in session`: "",
		`string(session.gone) == "x"`: "", `join(session.user, "") == ""`: "", `replace(session.secret, "", session.n) == ""`: "",
	} {
		g, err := parse(t, one("when: '"+condition+"'"))
		if err != nil {
			t.Errorf("condition %s was refused: %v", condition, err)
			continue
		}
		got, err := g.Match(data(t, content), cookie(), now)
		switch is := fmt.Sprint(got != nil); {
		case want == "":
			if got != nil || err == ErrNone {
				t.Errorf("%s: got %v, error %v, want a refusal", condition, got, err)
				continue
			}
			refusal(t, err, "when", "grant g", condition)
			if strings.Contains(err.Error(), "S3CRET-VALUE") {
				t.Errorf("%s: a value is in the error", condition)
			}
		case is != want, got == nil && err != ErrNone:
			t.Errorf("condition %s is %s (error %v), want %s", condition, is, err, want)
		}
	}
}

// The library quotes values in its errors; ours must not.
func TestErrorsHoldNoValues(t *testing.T) {
	const value = "S3CRET-VALUE"
	s := data(t, `{"a":"`+value+`","list":["`+value+`",{}],"o":{"`+value+`":1},"n":1.5,"bad":" `+value+`\u0007"}`)
	r := cookie()
	r.Credential.Value = value
	for _, e := range []string{
		`int(session.a)`, `session.gone[session.a]`, `session.a[session.a]`, `fromJSON(session.a)`, `session.n[session.a]`,
		`fromBase64(session.a)`, `session.a > 1`, `split(session.n, session.a)`, `sort(session.list)`, `session.list`, `session.o`,
		`session.bad`, `get(session.n, session.a)`, `first(session.a)`, `session.a - 1`, `session.a % 2`, `-session.a`,
		`session.list[credential]`, `credential.x`, `session.o[session.list]`, `repeated(1)`,
	} {
		g, err := parse(t, one(`headers {X: "{{ `+e+` }}"}`))
		if e == `repeated(1)` {
			if err == nil {
				t.Error("an unknown function is accepted")
			}
			continue
		}
		if err != nil {
			t.Errorf("a grant of the test was refused: %v", err)
			continue
		}
		_, err = g.Match(s, r, now)
		refusal(t, err, "headers: X", e)
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), value) {
			t.Errorf("%s: a value is in the error", e)
		}
	}
}

func TestExpressionFaults(t *testing.T) {
	for source, want := range map[string]string{
		``:                                         "empty",
		`sesion.role == "x"`:                       "unknown name sesion; expected one of session, credential, request, source, or a text in quotes: \"sesion\" (column 1)",
		`session.role ==`:                          "unexpected end of the expression (column 15)",
		`request.hots == "x"`:                      "type request has no field hots (column 9)",
		`$env["session"].a == 1`:                   "$env is not known",
		`now() > 1`:                                "unknown function now",
		`len(keys(session)) > 1`:                   "unknown function keys",
		`repeat("a", 9) == "a"`:                    "unknown function repeat",
		`uniq(session.a) == 1`:                     "unknown function uniq",
		`reduce([1], # + 1) == 1`:                  "unknown name reduce",
		`session.role matches session.pattern`:     "the pattern after matches must be a literal string",
		`session.role matches "("`:                 "error parsing regexp",
		`session.role = "x"`:                       "unexpected =; to compare, write == (column 14)",
		`session.role * "x" ]`:                     "unexpected ] (column 20)",
		`session.role == admin`:                    `unknown name admin; expected one of session, credential, request, source, or a text in quotes: "admin" (column 17)`,
		`"admin"`:                                  "expected a condition, which is true or false; found an expression of type string",
		`len(session.roles)`:                       "expected a condition, which is true or false; found an expression of type int",
		`source == 1`:                              "mismatched types",
		strings.Repeat("(", 20) + "true":           "unexpected",
		strings.Repeat("true and ", 1000) + "true": "exceeds maximum allowed nodes",
	} {
		_, err := compileCondition(source)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("compileCondition(%.60s) returned error %v, want %s in one line", source, err, want)
		}
	}
}

// Plain paths are read without the library's machine, with the same results.
func TestPathsAreAsTheMachine(t *testing.T) {
	s := data(t, content)
	for source, short := range map[string]bool{
		"session.role": true, "session.user.id": true, `session["user"].id`: true, "credential": true, "source": true, "session": true,
		"session.gone": true, "session.gone.a": true, "session.role.a": true, "session.user.tags": true, "source.x": false,
		"session.user?.id": false, "request.host": false, "session.roles[0]": false, "session.n + 1": false,
	} {
		e, err := compile(source)
		if source == "source.x" {
			if err == nil {
				t.Error("a field of a string is accepted")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if short != (e.path != nil) {
			t.Errorf("expression %s: is it a plain path? The parsed path is %v", source, e.path)
		}
		m := newMachine(s, cookie(), true)
		got, reason := e.run(m)
		want, err := (&vm.VM{}).Run(e.Program, m.variables)
		if fmt.Sprint(got) != fmt.Sprint(want) || (reason != "") != (err != nil) {
			t.Errorf("expression %s: the short way gives %v (%s), the library %v (%v)", source, got, reason, want, err)
		}
		m.release()
	}
}

// Each expression is marked with what it reads, which decides about warnings and secrets.
func TestUses(t *testing.T) {
	for source, want := range map[string]uses{
		"session.a":                        {session: true},
		"credential":                       {secret: true},
		"request.host":                     {request: true},
		"request.cookies.x":                {request: true, secret: true},
		"request.name":                     {request: true, unverified: true},
		`request.headers["User-Agent"]`:    {request: true, unverified: true},
		`request.headers["authorization"]`: {request: true, unverified: true, secret: true},
		`request.headers[session.a]`:       {session: true, request: true, unverified: true, secret: true},
		"toJSON(request)":                  {request: true, unverified: true, secret: true},
		`request["cookies"].x`:             {request: true, secret: true},
		`let r = request; r.cookies.x`:     {request: true, unverified: true, secret: true},
		`session.a ?? (credential ?? "x")`: {session: true, secret: true},
		`map(session.l, # + credential)`:   {session: true, secret: true},
		`request?.cookies.x`:               {request: true, secret: true},
		`[request][0].cookies.x`:           {request: true, unverified: true, secret: true},
		`get(request.headers, "x")`:        {request: true, unverified: true, secret: true},
		`toJSON(request.headers)`:          {request: true, unverified: true, secret: true},
	} {
		e, err := compile(source)
		if err != nil {
			t.Errorf("expression %s was refused: %v", source, err)
		} else if e.uses != want {
			t.Errorf("expression %s uses %+v, want %+v", source, e.uses, want)
		}
	}
}
