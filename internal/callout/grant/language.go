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

// compileOptions are the library's options for all expressions. The optimizer is off: it
// turns `x in ["a", "b"]` into a look-up that fails, or finds the empty string, if x is
// not a string (optimizer/in_array.go).
var compileOptions = append([]expr.Option{
	expr.Env(variableTypes()),
	expr.AsAny(), expr.Optimize(false), expr.MaxNodes(maxNodes), expr.Patch(canonicalHeaders{}),
	expr.Function("string", toString, new(func(any) string)),
	expr.Function("toJSON", toJSON, new(func(any) string)),
	expr.Function("join", join, new(func([]any, string) string), new(func([]string, string) string), new(func([]any) string), new(func([]string) string)),
	expr.Function("replace", replace, new(func(string, string, string) string)),
	expr.Function("toBase64", toBase64, new(func(string) string)),
}, disableOtherBuiltins()...)

// ownFunctions are the functions of this package. They replace those of the library
// with the same names.
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

// allowedBuiltins are the functions of the library that expressions can call. The others
// read the clock, return the keys of a map in random order, or take time or memory out
// of proportion to the session, or are replaced by ownFunctions.
var allowedBuiltins = func() map[string]bool {
	allowed := map[string]bool{}
	for _, name := range strings.Fields(`all none any one filter map find findIndex findLast findLastIndex count sum
		len type abs ceil floor round int float trim trimPrefix trimSuffix upper lower split splitAfter indexOf
		lastIndexOf hasPrefix hasSuffix max min fromJSON fromBase64 first last get take reverse concat sort sortBy`) {
		allowed[name] = true
	}
	return allowed
}()

func disableOtherBuiltins() []expr.Option {
	var out []expr.Option
	for _, f := range builtin.Builtins {
		if !allowedBuiltins[f.Name] {
			out = append(out, expr.DisableBuiltin(f.Name))
		}
	}
	return out
}

// maxText is the maximum length of a string that an expression makes, in bytes.
const maxText = 1 << 20

var (
	errText = errors.New("text is too long")
	errType = errors.New("value is of another type than needed")
	// errNumber is for NaN and infinity, for numbers that must be whole and are not, and for numbers
	// that are too large to be exact.
	errNumber = errors.New("number is not exact")
	// errUndecodable is for a text with U+FFFD; see undecodable.
	errUndecodable = errors.New("text could not be decoded")
)

// toString converts a value to a string as templates do. The function of the library
// converts 1234567.0 to 1.234567e+06 and nil to a word.
func toString(args ...any) (any, error) {
	text, reason := scalar(args[0])
	if reason != "" {
		return nil, errType
	}
	return text, nil
}

// toJSON encodes a value as JSON in one line; the function of the library indents. It
// fails for nil, which would become the word null, and for a text with U+FFFD (see
// undecodable), which the rules of templates could not detect afterwards.
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
	if !isFullyDecoded(text) {
		return nil, errUndecodable
	}
	return text, nil
}

// isFullyDecoded reports whether a JSON text of encoding/json is without U+FFFD.
// encoding/json writes this character unescaped, and \ufffd for bytes that are not UTF-8.
func isFullyDecoded(text string) bool {
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
		text = text[i+2:] // also skips the escaped character, which may be a backslash
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

// toBase64 fails for a text with U+FFFD (see undecodable), which the rules of templates
// could not detect afterwards.
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

// canonicalHeaders changes the names of request headers in an expression to the form of
// http.CanonicalHeaderKey.
type canonicalHeaders struct{}

// Visit implements ast.Visitor.
func (canonicalHeaders) Visit(n *ast.Node) {
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
