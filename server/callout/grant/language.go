package grant

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/types"
)

// options of each expression. The optimizer is off: it turns `x in ["a", "b"]`
// into a look-up that fails, or finds the empty string, where x is no string
// (optimizer/in_array.go).
var options = append([]expr.Option{
	expr.Env(variableTypes()),
	expr.AsAny(), expr.Optimize(false), expr.MaxNodes(maxNodes), expr.Patch(canonical{}),
	expr.Function("string", toString, new(func(any) string)),
	expr.Function("toJSON", toJSON, new(func(any) string)),
	expr.Function("join", join, new(func([]any, string) string), new(func([]string, string) string), new(func([]any) string), new(func([]string) string)),
	expr.Function("replace", replace, new(func(string, string, string) string)),
	expr.Function("toBase64", toBase64, new(func(string) string)),
}, withoutOthers()...)

// ownFunctions are those that are not the library's.
var ownFunctions = map[string]bool{"string": true, "toJSON": true, "join": true, "replace": true, "toBase64": true}

func variableTypes() types.Map {
	variables := types.Map{
		"session": types.TypeOf(map[string]any{}), "credential": types.Any,
		"request": types.TypeOf(&requestVariables{}), "source": types.String,
	}
	maps.Copy(variables, meterTypes)
	maps.Copy(variables, strictTypes)
	return variables
}

// known are the functions of the library that are there. The others read the
// clock, return a map's keys in any order, or may take a time or memory out of proportion to a
// session; string, toJSON, join, replace and toBase64 are our own.
var known = func() map[string]bool {
	known := map[string]bool{}
	for _, name := range strings.Fields(`all none any one filter map find findIndex findLast findLastIndex count sum
		len type abs ceil floor round int float trim trimPrefix trimSuffix upper lower split splitAfter indexOf
		lastIndexOf hasPrefix hasSuffix max min fromJSON fromBase64 first last get take reverse concat sort sortBy`) {
		known[name] = true
	}
	return known
}()

func withoutOthers() []expr.Option {
	var out []expr.Option
	for _, f := range builtin.Builtins {
		if !known[f.Name] {
			out = append(out, expr.DisableBuiltin(f.Name))
		}
	}
	return out
}

// maxText is how long a text may get in an expression, in bytes.
const maxText = 1 << 20

var (
	errText = errors.New("text is too long")
	errType = errors.New("value is of another type than needed")
	// errNumber is for what is not a number, not whole where it must be, or too large to be exact.
	errNumber = errors.New("number is not exact")
	// errUndecodable: see undecodable.
	errUndecodable = errors.New("text could not be decoded")
)

// toString writes a value as a template does. The library's own writes 1234567.0
// as 1.234567e+06, and nil as a word.
func toString(args ...any) (any, error) {
	text, reason := scalar(args[0])
	if reason != "" {
		return nil, errType
	}
	return text, nil
}

// toJSON writes one line; the library's own indents. It refuses what is absent, which would be the word null, and what
// could not be decoded (see undecodable), which would not be seen afterwards.
func toJSON(args ...any) (any, error) {
	if args[0] == nil {
		return nil, errType
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(args[0]); err != nil {
		return nil, errType
	}
	text := strings.TrimSuffix(out.String(), "\n")
	if !decoded(text) {
		return nil, errUndecodable
	}
	return text, nil
}

// decoded tells whether nothing in a JSON text of encoding/json stands for what could not be decoded. It writes U+FFFD
// as it is, and \ufffd for bytes that are not UTF-8.
func decoded(text string) bool {
	if strings.ContainsRune(text, utf8.RuneError) {
		return false
	}
	for {
		i := strings.IndexByte(text, '\\')
		if i < 0 {
			return true
		}
		if strings.HasPrefix(text[i:], `\ufffd`) {
			return false
		}
		text = text[i+2:] // with what is escaped, which may be a backslash
	}
}

func join(args ...any) (any, error) {
	values, reason := outputs(args[0])
	if reason != "" {
		return nil, errType
	}
	glue := ""
	if len(args) > 1 {
		var ok bool
		if glue, ok = args[1].(string); !ok {
			return nil, errType
		}
	}
	n := len(values) * len(glue)
	for _, v := range values {
		n += len(v)
	}
	if n > maxText {
		return nil, errText
	}
	return strings.Join(values, glue), nil
}

func replace(args ...any) (any, error) {
	text, ok1 := args[0].(string)
	old, ok2 := args[1].(string)
	by, ok3 := args[2].(string)
	if !ok1 || !ok2 || !ok3 {
		return nil, errType
	}
	if len(text)+strings.Count(text, old)*len(by) > maxText {
		return nil, errText
	}
	return strings.ReplaceAll(text, old, by), nil
}

// toBase64 refuses what could not be decoded (see undecodable), which would not be seen afterwards.
func toBase64(args ...any) (any, error) {
	text, ok := args[0].(string)
	if !ok {
		return nil, errType
	}
	if strings.ContainsRune(text, utf8.RuneError) { // also where it is not UTF-8
		return nil, errUndecodable
	}
	return base64.StdEncoding.EncodeToString([]byte(text)), nil
}

// canonical writes names of request headers as http.CanonicalHeaderKey does.
type canonical struct{}

// Visit implements ast.Visitor.
func (canonical) Visit(n *ast.Node) {
	m, ok := (*n).(*ast.MemberNode)
	if !ok {
		return
	}
	inner, ok := m.Node.(*ast.MemberNode)
	if !ok || !isHeaders(inner) {
		return
	}
	if name, ok := m.Property.(*ast.StringNode); ok {
		name.Value = http.CanonicalHeaderKey(name.Value)
	}
}
