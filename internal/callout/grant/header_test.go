package grant

import (
	"strings"
	"testing"
)

func TestHeaders(t *testing.T) {
	for _, c := range []struct{ fields, data, want string }{
		{`headers {A: "x"}`, `{}`, "A=x"},
		{`headers {A: " x "}`, `{}`, "A=x"},
		{`headers {A: ["x", "{{ session.l }}", "y"]}`, `{"l":["1","2"]}`, "A=x,1,2,y"},
		{`headers {A: "Bearer {{ session.t }}"}`, `{"t":"tok"}`, "A=Bearer tok"},
		{`headers {A: "{{ session.l }}@{{ session.l }}"}`, `{"l":["1","2"]}`, "A=1@1,1@2,2@1,2@2"},
		{`headers {A: "{{ toJSON(session.l) }}"}`, `{"l":{"b":[1,"<"],"a":null}}`, `A={"a":null,"b":[1,"<"]}`},
		{`headers {A: "{{ join(session.l, '+') }}"}`, `{"l":["1",2]}`, "A=1+2"},
		{`headers {A {value: "x", subjects: ["u.{{ session.u }}.>"]}}`, `{"u":"alice"}`, "A=x on u.alice.>"},
		{`headers {A {value: ["x", "y"], subjects: ["api.>", "u.{{ session.u }}"]}}`, `{"u":["a","b"]}`, "A=x,y on api.> u.a u.b"},
		{`headers {B: "2", A: "1"}, header_permissions {publish: "X-*", subscribe: [A]}`, `{}`, "A=1;B=2;publish X-*;subscribe A"},
		{`header_permissions {subscribe {allow: ["*"]}}`, `{}`, "subscribe *"},
		{`headers {}`, `{}`, ""},
	} {
		got, err := mustParse(t, one(c.fields)).Match(data(t, c.data), cookie(), now)
		if err != nil {
			t.Errorf("no grant by %s: %v", c.fields, err)
			continue
		}
		var all []string
		if got.Claim != nil {
			for _, h := range got.Claim.Headers {
				text := h.Name + "=" + strings.Join(h.Values, ",")
				if len(h.Subjects) > 0 {
					text += " on " + strings.Join(h.Subjects, " ")
				}
				all = append(all, text)
			}
			if len(got.Claim.Publish) > 0 {
				all = append(all, "publish "+strings.Join(got.Claim.Publish, " "))
			}
			if len(got.Claim.Subscribe) > 0 {
				all = append(all, "subscribe "+strings.Join(got.Claim.Subscribe, " "))
			}
		}
		if got := strings.Join(all, ";"); got != c.want {
			t.Errorf("%s: the headers are %s, want %s", c.fields, got, c.want)
		}
	}
}

func TestHeaderRefusals(t *testing.T) {
	for _, c := range []struct{ fields, data, field, want string }{
		{`headers {A: "{{ session.x }}"}`, `{}`, "headers: A", "session.x is absent"},
		{`headers {A: "Bearer {{ session.x }}"}`, `{"x":""}`, "headers: A", "session.x is empty"},
		{`headers {A: "{{ session.x }}"}`, `{"x":[]}`, "headers: A", "empty list"},
		{`headers {A: "{{ session.x }}"}`, `{"x":"a\r\nB: c"}`, "headers: A", "control character"},
		{`headers {A: "Bearer {{ session.x }}"}`, `{"x":" c"}`, "headers: A", "white space"},
		{`headers {A {value: "x", subjects: ["u.{{ session.x }}"]}}`, `{"x":[]}`, "headers: A", "every subject"},
		{`headers {A {value: "x", subjects: ["u.{{ session.x }}"]}}`, `{"x":"*"}`, "headers: A", "token"},
		{`headers {A: "{{ session.x }}"}`, `{"x":"` + strings.Repeat("x", 1<<16) + `"}`, "headers", "at most 65535"},
	} {
		_, err := mustParse(t, one(c.fields)).Match(data(t, c.data), cookie(), now)
		refusal(t, err, c.field, "grant g", c.want)
	}
}
