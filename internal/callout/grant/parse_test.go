package grant

import (
	"strings"
	"testing"
)

// Each fault of a grant, with what its error must say. The place comes first.
func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		`account: [A]`:                        "configuration:3:1: account: expected a string",
		`acount: A`:                           `unknown field "acount"`,
		`when: 'session.role = "x"'`:          "configuration:3:1: when: unexpected",
		`when: "nobody == 1"`:                 "unknown name nobody; expected one of session",
		`when: ""`:                            "when: expression is empty",
		`account: ""`:                         "account is empty",
		`account: "{{ session.a"`:             "account: {{ is not closed",
		`account: "{{ credential }}"`:         "account: credentials and cookies are secret",
		`user: "{{ credential }}"`:            "user: credentials and cookies are secret",
		`user: "u-{{ request.cookies.sid }}"`: "user: credentials and cookies are secret",
		`user: ""`:                            "user is empty",
		`tags: ["{{ credential }}"]`:          "tags: credentials and cookies are secret",
		`tags: [true]`:                        "tags: expected a tag as a string",
		`publish: ["a.{{ credential }}"]`:     "publish: credentials and cookies are secret",
		`headers {A {value: "x", subjects: ["a.{{ credential }}"]}}`: "subjects: credentials and cookies are secret",
		`publish: ["a..b"]`:                             `configuration:3:12: publish: "a..b": expected a subject, with * and > as whole tokens and > as the last one`,
		`publish: ["a.{{ source }}*"]`:                  "expected a subject",
		`publish: ["a.{{ source }}>"]`:                  "expected a subject",
		`publish: [">.a"]`:                              "expected a subject",
		`publish: ["a b"]`:                              "expected a subject without a queue name",
		`publish: ["a\tb"]`:                             "expected a subject",
		"publish: [\"a.b\u200bc\"]":                     "a token of the subject holds an invisible character",
		`subscribe: ["a q..r"]`:                         "queue name: expected a subject",
		`publish: [""]`:                                 "expected a subject",
		`publish: [true]`:                               "publish: expected a subject as a string",
		`publish {deny: ["a"]}`:                         `publish: "allow" is missing`,
		`publish {allow: ["a"], alow: ["b"]}`:           `unknown field "alow"`,
		`subscribe: ["a q r"]`:                          "expected a subject",
		`subscribe: ["a "]`:                             "expected a subject",
		`response_permissions: {max: 0}`:                "max: expected 1 or more",
		`response_permissions: {ttl: 0}`:                "ttl: expected 1ms or more",
		`subscribe: ["a q r"], publish: []`:             `subscribe: "a q r": expected a subject and at most one queue name after a space; found 2 spaces`,
		`limits {payload: big}`:                         "limits: payload: expected a whole number; found a string",
		`limits: 5`:                                     "limits: expected a block; found a number",
		`when: "true = true"`:                           "unexpected =; to compare, write ==",
		`when: "session.role == admin"`:                 `unknown name admin; expected one of session, credential, request, source, or a text in quotes: "admin"`,
		`headers {"": "x"}`:                             "name of a header is empty",
		`response_permissions: "yes"`:                   "expected a block",
		`connection_types: [WEBSOKET]`:                  `expected one of STANDARD, WEBSOCKET`,
		`connection_types: []`:                          "connection_types: expected at least one type",
		`networks: ["10.0.0.1/8"]`:                      "10.0.0.0/8?",
		`networks: ["example.com"]`:                     "expected an IP address",
		`networks: ["fe80::1%eth0"]`:                    "expected an IP address",
		`networks: ["::ffff:10.0.0.0/8"]`:               "expected an IP address",
		`networks: []`:                                  "networks: expected at least one network",
		`limits {payload: 0}`:                           "limits: payload: expected 1 or more",
		`limits {subs: 5}`:                              `unknown field "subs"`,
		`expires: 0`:                                    "expires: expected 1s or more",
		`expires: 15m`:                                  `such as "15m"; found the number 15000000`,
		`headers {"Nats-Msg-Id": "x"}`:                  `configuration:3:11: header "Nats-Msg-Id": name is reserved`,
		`headers {"A B": "x"}`:                          `header "A B": name has a character other than letters, digits and !`,
		`headers {"A-B": "x", "a_b": "y"}`:              "duplicate name",
		`headers {A: ""}`:                               "value is empty",
		`headers {A: []}`:                               "expected at least one value; found an empty list",
		`headers {A: 1}`:                                "put it in quotes",
		`headers {A: "{{ nobody }}"}`:                   "headers: A: {{ nobody }}: unknown name nobody",
		`headers {A: {subjects: ["a"]}}`:                `object has no key "value"`,
		`headers {A: {value: "x", subjects: ["a..b"]}}`: "expected a subject",
		`headers {A: {value: "x", subjects: []}}`:       "expected at least one subject",
		`headers: "x"`:                                  "headers: expected an object",
		`header_permissions {publish: ["a b"]}`:         "expected a header name",
		`header_permissions {write: ["a"]}`:             "unknown key",
		`header_permissions {publish: {deny: ["a"]}}`:   "unknown key",
		`header_permissions: ["a"]`:                     "header_permissions: expected {publish",
		`scoped: true, limits {payload: 5}`:             "limits: a scoped grant cannot",
		`name: "{{ session.a }}"`:                       "name: expected",
		`name: ""`:                                      "name: expected",
	} {
		if !strings.HasPrefix(text, "name") {
			text = "name: g\n\n" + text // third line
		}
		if !strings.Contains(text, "publish:") && !strings.Contains(text, "publish {") || strings.Contains(text, "permissions") {
			text += "\npublish: []"
		}
		if !strings.Contains(text, "subscribe:") {
			text += "\nsubscribe: []"
		}
		if !strings.Contains(text, "account:") {
			text += "\naccount: A"
		}
		_, err := parse(t, "grants: [{"+text+"}]")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("grant %s:\nfound  %v\nwanted %s", text, err, want)
		}
	}
}

func TestFaultsAllAtOnce(t *testing.T) {
	_, err := parse(t, "grants: [\n{ when: nobody, publish: \"a..b\" }\n{ name: x, account: A, publish: [], subscribe: [] }\n{ name: x, account: A, publish: [], subscribe: [] }\n]")
	if err == nil {
		t.Fatal("the faulty grants were accepted")
	}
	for _, want := range []string{
		`field "account" is missing`, "unknown name nobody", "expected a subject",
		`field "subscribe" is missing; write subscribe: [] for nothing, subscribe: ">" for everything`,
		`configuration:4:`, `duplicate name "x"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q in\n%v", want, err)
		}
	}
	for text, want := range map[string]string{
		`when: true`: `configuration:2:3: when: expected a string; found a boolean (hint: put it in quotes)`,
		`headers {A: {value: x, subjects: "a b"}}`: `configuration:2:26: headers: A: subjects: "a b": expected a subject without a queue name`,
	} {
		_, err := parse(t, "grants: [\n{ "+text+", account: A, publish: [], subscribe: [] }\n]")
		if err == nil || err.Error() != want {
			t.Errorf("%s: expected one fault\n%s\ngot\n%v", text, want, err)
		}
	}
	if _, err := parse(t, "grants: APP"); err == nil || err.Error() != "configuration:1:1: grants: expected a list of blocks; found a string" {
		t.Errorf("grants that are a text: %v", err)
	}
	if _, err := parse(t, "grants: []"); err == nil || !strings.Contains(err.Error(), "expected at least one grant") {
		t.Errorf("expected at least one grant to be asked for; found %v", err)
	}
}

func TestResponsePermissions(t *testing.T) {
	for text, want := range map[string]string{
		"": "none", "response_permissions: false": "none", "response_permissions: true": "1 2m0s",
		"response_permissions: {max: 5}": "5 2m0s", `response_permissions {max: -1, ttl: "5s"}`: "-1 5s",
	} {
		got, err := mustParse(t, one(text)).Match(data(t, `{}`), cookie(), now)
		if err != nil {
			t.Fatal(err)
		}
		is := "none"
		if r := got.User.Resp; r != nil {
			is = strings.Join([]string{itoa(r.MaxMsgs), r.Expires.String()}, " ")
		}
		if is != want {
			t.Errorf("%s: response permissions %s, want %s", text, is, want)
		}
	}
}

func itoa(n int) string { text, _ := scalar(n); return text }

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		``:                                     "",
		`publish: ">"`:                         warnReplay,
		`publish: "$JS.API.>"`:                 warnReplay,
		`publish: "$JS.API.DIRECT.GET.KV_x.>"`: warnReplay,
		`publish: "$JS.API.CONSUMER.CREATE.{{ session.stream }}.>"`:                warnReplay,
		`publish: "$JS.API.STREAM.INFO.x"`:                                         "",
		`publish {allow: ">", deny: "$JS.API.>"}`:                                  "",
		`publish {allow: ">", deny: "$JS.API.DIRECT.GET.>"}`:                       warnReplay,
		`publish {allow: "$JS.API.DIRECT.GET.>", deny: "$JS.API.DIRECT.GET.KV_x"}`: warnReplay,
		`publish {allow: "$JS.API.DIRECT.GET.>", deny: "$JS.API.DIRECT.*.>"}`:      "",
		`publish: ">", connection_types: [STANDARD]`:                               "",
		`publish: ">", connection_types: [WEBSOCKET]`:                              warnReplay,
		`subscribe: ">"`:                           warnInbox,
		`subscribe: "_INBOX.>"`:                    warnInbox,
		`subscribe: "*.>"`:                         warnInbox,
		`subscribe: "_INBOX.{{ session.user }}.>"`: "",
		`subscribe: "_INBOX_x.>"`:                  "",
		`subscribe {allow: ">", deny: "_INBOX.>"}`: "",
		`account: "{{ session.tenant }}"`:          warnAccount,
		`user: "{{ request.name }}"`:               warnUnverified,
		`publish: ["a.{{ request.mqtt_id }}"]`:     warnUnverified,
		`headers {A: "{{ request.name }}"}`:        "",
		`publish: "a.{{ request.host }}"`:          "",
	} {
		got := strings.Join(mustParse(t, one(text)).Warnings(), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) || want != "" && !strings.HasPrefix(got, "configuration:2:") {
			t.Errorf("%s: warnings %q, want %q", text, got, want)
		}
	}
	g := mustParse(t, `grants: [{ account: A, publish: [], subscribe: [] }, { account: B, publish: [], subscribe: [] }]`)
	if got := g.Warnings(); len(got) != 1 || !strings.Contains(got[0], "grant 1: when: "+warnAlways) {
		t.Errorf("expected one warning that the first grant always matches; found %v", got)
	}
}
