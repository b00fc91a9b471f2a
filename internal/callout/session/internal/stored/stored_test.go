package stored

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stamp/internal/conf"
)

func TestParseTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"{{ credential }}":                 "ID",
		"{{credential}}":                   "ID",
		"{{ .credential }}":                "ID",
		"sess:{{ credential }}:x":          "sess:ID:x",
		"":                                 "",
		"sess":                             "",
		"{{ credential }}{{ credential }}": "",
		"{{ session }}":                    "",
		"{{ credential":                    "",
		"credential }}":                    "",
		"{{ {{ credential }}":              "",
		"}}{{ credential }}":               "",
		"a\n{{ credential }}":              "",
		"{{ credential }}\xff":             "",
	} {
		template, err := ParseTemplate(text)
		if (err == nil) != (want != "") {
			t.Errorf("ParseTemplate(%q) returned error %v, want it accepted: %v", text, err, want != "")
		}
		if got := template.Key("ID"); err == nil && got != want {
			t.Errorf("template %q: the key is %q, want %q", text, got, want)
		}
	}
}

func TestObject(t *testing.T) {
	for text, ok := range map[string]bool{
		`{}`: true, `{"a":1}`: true, " {}\n": true,
		``: false, `null`: false, `[]`: false, `"a"`: false, `{`: false, `{}{}`: false,
		`{"a":"` + strings.Repeat("x", MaxContent) + `"}`: false,
	} {
		if _, err := Object([]byte(text)); (err == nil) != ok {
			t.Errorf("Object(%.20q) returned error %v, want it accepted: %v", text, err, ok)
		}
	}
}

func TestExpires(t *testing.T) {
	none, wrong := time.Time{}, time.Unix(-1, 0)
	for _, c := range []struct {
		data, field string
		want        time.Time
	}{
		{`{}`, "expires", none},
		{`{"expires":null}`, "expires", none},
		{`{"expires":1700000000}`, "", none},
		{`{"expires":1700000000}`, "expires", time.Unix(1_700_000_000, 0)},
		{`{"expires":1700000000.5}`, "expires", time.Unix(1_700_000_000, 5e8)},
		{`{"expires":"1700000000"}`, "expires", time.Unix(1_700_000_000, 0)},
		{`{"expires":"2023-11-14T22:13:20Z"}`, "expires", time.Unix(1_700_000_000, 0)},
		{`{"expires":"2023-11-14T23:13:20.000+01:00"}`, "expires", time.Unix(1_700_000_000, 0)},
		{`{"expires":0}`, "expires", time.Unix(0, 0)},
		{`{"expires":"0001-01-01T00:00:00Z"}`, "expires", time.Unix(0, 0)},
		{`{"expires":-62135596800}`, "expires", time.Unix(0, 0)},
		{`{"cookie":{"expires":1700000000}}`, "cookie.expires", time.Unix(1_700_000_000, 0)},
		{`{"cookie.expires":1700000000}`, "cookie.expires", time.Unix(1_700_000_000, 0)},
		{`{"cookie":7}`, "cookie.expires", none},
		{`{"cookie":{"expires":false}}`, "cookie.expires", none},
		{`{"expires":false}`, "expires", none},
		{`{"expires":1700000000000}`, "expires", wrong},
		{`{"expires":1e300}`, "expires", wrong},
		{`{"expires":true}`, "expires", wrong},
		{`{"expires":[]}`, "expires", wrong},
		{`{"expires":""}`, "expires", wrong},
		{`{"expires":"s3cret"}`, "expires", wrong},
	} {
		var data map[string]any
		if err := json.Unmarshal([]byte(c.data), &data); err != nil {
			t.Fatal(err)
		}
		got, err := Expires(data, c.field)
		if err != nil {
			got = wrong
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: the error holds the value: %v", c.data, err)
			}
		}
		if !got.Equal(c.want) {
			t.Errorf("content %s, field %s: ends at %v, error %v; want %v", c.data, c.field, got, err, c.want)
		}
	}
}

func TestEarlier(t *testing.T) {
	var none time.Time
	a, b := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range [][3]time.Time{{a, b, a}, {b, a, a}, {a, none, a}, {none, a, a}, {none, none, none}} {
		if got := Earlier(c[0], c[1]); !got.Equal(c[2]) {
			t.Errorf("Earlier(%v, %v) = %v; want %v", c[0], c[1], got, c[2])
		}
	}
}

func TestSessionKey(t *testing.T) {
	if got := SessionKey("abc"); got != "ba7816bf8f01cfea414140de5dae2223" {
		t.Errorf("got %s; want the first half of its SHA-256", got)
	}
}

func TestFromConf(t *testing.T) {
	n, err := conf.ParseString(`a: 1, b: [1, {c: 2}], d: text, e: 1.5, f: true, g: 2020-01-02T03:04:05Z, skipped: x`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(FromConf(n, func(name string) bool { return name == "skipped" }))
	const want = `{"a":1,"b":[1,{"c":2}],"d":"text","e":1.5,"f":true,"g":"2020-01-02T03:04:05Z"}`
	if err != nil || string(got) != want {
		t.Errorf("FromConf as JSON is %s, error %v; want %s", got, err, want)
	}
	if v := FromConf(n, nil)["a"]; v != 1.0 {
		t.Errorf("a number is %T; want float64, as encoding/json has it", v)
	}
}
