package stamp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// line is a header line as a reader sees it.
type line struct{ name, value string }

// readers are the parsers of client libraries: the real one where it can run here,
// else a model of it. An error means that the library gives its program no headers,
// or ends its connection.
var readers = []struct {
	name string
	read func(block []byte) ([]line, error)
}{
	{"nats.go", readNatsGo},
	{"net/textproto", readTextproto},
	{"nats.js model", readNatsJS},
	{"nats.rs model", readNatsRust},
	{"nats.net model", readNatsNet},
	{"nats.py model", readNatsPy},
	{"nats.java model", readNatsJava},
	{"laxest", readLax},
}

func lines(m map[string][]string) (out []line) {
	for name, values := range m {
		for _, v := range values {
			out = append(out, line{name, v})
		}
	}
	return out
}

// readNatsGo reads as a subscription of nats.go does (nats.go, processMsg).
func readNatsGo(block []byte) ([]line, error) {
	h, err := nats.DecodeHeadersMsg(block)
	delete(h, "Status")
	delete(h, "Description")
	return lines(h), err
}

func readTextproto(block []byte) ([]line, error) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(block)))
	if _, err := r.ReadLine(); err != nil {
		return nil, err
	}
	h, err := r.ReadMIMEHeader()
	return lines(h), err
}

// readNatsJS follows nats-core 3.4.0, headers.ts, decode. TestNodeModel compares it
// with the real one.
func readNatsJS(block []byte) ([]line, error) {
	var out []line
	text := strings.TrimPrefix(string(block), "\ufeff") // as TextDecoder does
	for _, l := range strings.Split(text, "\r\n")[1:] {
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			continue
		}
		value = trimJS(value)
		bad := func(r rune) bool { return r < '!' || r > '~' }
		if strings.ContainsFunc(name, bad) || !utf8.ValidString(name) || strings.ContainsAny(value, "\r\n") {
			return nil, errors.New("throws")
		}
		out = append(out, line{name, value})
	}
	return out, nil
}

// trimJS is String.prototype.trim (ECMA-262, 22.1.3.32).
func trimJS(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return strings.ContainsRune("\t\n\v\f\r\u2028\u2029\ufeff", r) || unicode.Is(unicode.Zs, r)
	})
}

var rustName = regexp.MustCompile(`^[!#$%&'*+\-.^_|~0-9A-Za-z` + "`" + `]+$`)

// readNatsRust follows async-nats, connection.rs, try_read_op.
func readNatsRust(block []byte) ([]line, error) {
	if !utf8.Valid(block) {
		return nil, errors.New("not valid utf-8")
	}
	var out []line
	all := strings.Split(strings.TrimSuffix(string(block), "\n"), "\n")
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], "\r")
	}
	for i := 1; i < len(all); i++ {
		if all[i] == "" {
			continue
		}
		name, value, ok := strings.Cut(all[i], ":")
		if !ok || !rustName.MatchString(name) {
			return nil, errors.New("invalid header line")
		}
		for i+1 < len(all) && strings.IndexFunc(all[i+1], unicode.IsSpace) == 0 {
			i++
			value += all[i]
		}
		out = append(out, line{name, strings.TrimSpace(value)})
	}
	return out, nil
}

// readNatsNet follows NATS.Net, NatsHeaderParser.cs: only CRLF ends a line, empty
// lines are skipped, a line without a name throws.
func readNatsNet(block []byte) ([]line, error) {
	var out []line
	all := strings.Split(string(block), "\r\n")
	for _, l := range all[1 : len(all)-1] {
		if l == "" {
			continue
		}
		name, value, ok := strings.Cut(l, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t\r\n") {
			return nil, errors.New("rejects")
		}
		out = append(out, line{name, strings.Trim(value, " \t")})
	}
	return out, nil
}

// readNatsPy follows nats.py, aio/client.py, _process_headers, and the standard
// library's email.feedparser, which breaks lines at CR, LF and CRLF, folds lines,
// and takes the first line that is not a header for the body. TestPythonModel
// compares it with the real email.parser. One thing is left out: there a value
// outside ASCII is not a str but an object without strip, and nats.py then drops
// all headers.
func readNatsPy(block []byte) ([]line, error) {
	rest, ok := bytes.CutPrefix(block, []byte("NATS/1.0"))
	if !ok {
		return nil, errors.New("no version")
	}
	if len(rest) > 0 && rest[0] == ' ' {
		if len(rest) < 9 {
			return nil, nil
		}
		text := rest[5 : len(rest)-4]
		at := bytes.Index(text, []byte("\r\n"))
		if !utf8.Valid(text[:max(at, 0)]) {
			return nil, errors.New("UnicodeDecodeError")
		}
		if at <= 0 {
			return nil, nil // the rest passes for the description
		}
		return readEmail(text[at+2:]), nil
	}
	return readEmail(rest[min(2, len(rest)):]), nil
}

var (
	pyBreak  = regexp.MustCompile(`\r\n|\r|\n`)
	pyHeader = regexp.MustCompile(`^[!-9;-~]+:`)
)

func readEmail(block []byte) (out []line) {
	open := false // a line that is folded has one before it
	for _, l := range pyBreak.Split(string(block), -1) {
		switch {
		case l != "" && (l[0] == ' ' || l[0] == '\t'):
			if open {
				out[len(out)-1].value += l
			}
		case strings.HasPrefix(l, ":"):
			open = false
		case pyHeader.MatchString(l):
			name, value, _ := strings.Cut(l, ":")
			out = append(out, line{name, strings.TrimLeft(value, " \t")})
			open = true
		default:
			return out
		}
	}
	return out
}

// readNatsJava follows nats.java, IncomingHeadersProcessor, except that nats.java
// refuses everything outside ASCII, as ADR-4 allows.
func readNatsJava(block []byte) ([]line, error) {
	if !bytes.HasPrefix(block, []byte("NATS/1.0")) || !bytes.HasSuffix(block, []byte("\r\n")) {
		return nil, errors.New("invalid composition")
	}
	var out []line
	all := strings.Split(strings.TrimSuffix(string(block), "\r\n"), "\r\n")
	for _, l := range all[1 : len(all)-1] {
		name, value, ok := strings.Cut(l, ":")
		if !ok || name == "" || strings.ContainsAny(l, "\r\n") {
			return nil, errors.New("invalid composition")
		}
		out = append(out, line{name, strings.Trim(value, " \t")})
	}
	return out, nil
}

// readLax takes everything for a header that could be one. It breaks lines at any
// line break, skips blank lines, reads a folded line both as a part of the value
// before and as a line of its own, and trims everything.
func readLax(block []byte) ([]line, error) {
	var out []line
	for i, l := range pyBreak.Split(string(block), -1) {
		name, value, ok := strings.Cut(l, ":")
		if len(out) > 0 && l != "" && unicode.IsSpace(rune(l[0])) {
			out[len(out)-1].value += " " + strings.TrimSpace(l)
		}
		if ok && i > 0 {
			out = append(out, line{strings.TrimFunc(name, invisible), strings.TrimSpace(value)})
		}
	}
	return out, nil
}

func invisible(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }

// alias folds a name. It is written independently of package field.
var alias = strings.NewReplacer("_", "-", ".", "-")

func sameName(a, b string) bool {
	return strings.EqualFold(alias.Replace(a), alias.Replace(b)) && len(a) == len(b)
}

// checkReaders reports each reader that does not see exactly want under each name.
func checkReaders(block []byte, want []Header) (faults []error) {
	if len(block) == 0 {
		return nil
	}
	for _, r := range readers {
		got, err := r.read(block)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", r.name, err))
			continue
		}
		for _, h := range want {
			if err := sees(got, h); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", r.name, err))
			}
		}
	}
	return faults
}

func sees(got []line, want Header) error {
	var values []string
	for _, l := range got {
		switch {
		case !sameName(l.name, want.Name):
		case l.name != want.Name && textproto.CanonicalMIMEHeaderKey(want.Name) != l.name:
			return fmt.Errorf("%q is there as %q", want.Name, l.name)
		default:
			values = append(values, l.value)
		}
	}
	if len(values) != len(want.Values) {
		return fmt.Errorf("%q has %d values, want %d", want.Name, len(values), len(want.Values))
	}
	for i, v := range values {
		if v != strings.Trim(want.Values[i], " \t") {
			return fmt.Errorf("value %d of %q differs", i+1, want.Name)
		}
	}
	return nil
}
