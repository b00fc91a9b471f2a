package grant

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm/runtime"
)

// The library accepts values of wrong types in several places, and treats them as if
// they were empty: a text is a list of bytes, none of which equals a role; the first
// element of an object is nil. Integers overflow, and comparisons with NaN are always
// false. A condition may be a negation, so each of these could make it true by mistake.
// So compile puts calls of the functions below into each expression. They end the
// evaluation with a panic if such a value is read or made.

// Names of these functions. An expression cannot call them itself, because of the
// exclamation mark. Those whose comment begins with "requires" return their argument.
const (
	strictPresent      = "present!"      // requires a value that is not nil
	strictList         = "list!"         // requires a list
	strictListOrObject = "listOrObject!" // requires a list or an object
	strictNotText      = "notText!"      // requires anything but a text
	strictNumeric      = "numeric!"      // requires a number or a list
	strictKey          = "key!"          // requires a valid key or index, or text to search for
	strictDecodable    = "decodable!"    // requires a text without U+FFFD, see undecodable
	strictComparable   = "comparable!"   // requires a value that can be compared exactly
	strictExact        = "exact!"        // requires a number that is exact
	strictFinite       = "finite!"       // requires a valid result of a calculation
	strictFloat        = "float!"        // converts an integer to a float, which does not overflow
	strictMultiply     = "multiply!"     // replaces a * b
	strictIn           = "in!"           // replaces a in b
)

var strictTypes = types.Map{
	strictPresent: meterType, strictList: meterType, strictListOrObject: meterType, strictNotText: meterType, strictNumeric: meterType, strictKey: meterType, strictDecodable: meterType,
	strictComparable: meterType, strictExact: meterType, strictFinite: meterType, strictFloat: meterType,
	strictMultiply: types.TypeOf(func(any, any) any { return nil }), strictIn: types.TypeOf(func(any, any) any { return nil }),
}

// strictFunctions returns the functions by their names. Those that read a whole value
// count its cost first.
func (m *meter) strictFunctions() map[string]any {
	checked := func(fault func(v any) error) func(any) any {
		return func(v any) any {
			if err := fault(v); err != nil {
				panic(err)
			}
			return v
		}
	}
	return map[string]any{
		strictPresent: checked(requirePresent), strictList: checked(requireList), strictListOrObject: checked(requireListOrObject), strictNotText: checked(requireNotText), strictNumeric: checked(requireNumeric), strictKey: checked(requireKey),
		strictDecodable: checked(requireDecodable), strictExact: checked(requireExact), strictFinite: checked(requireFinite),
		strictComparable: func(v any) any {
			m.spend(m.deepCost(v))
			if err := requireComparable(v); err != nil {
				panic(err)
			}
			return v
		},
		strictFloat: func(v any) any {
			if n, ok := v.(int); ok {
				return float64(n)
			}
			return v
		},
		strictMultiply: multiply,
		strictIn:       m.contains,
	}
}

func requirePresent(v any) error {
	if v == nil {
		return errType
	}
	return nil
}

func requireList(v any) error {
	if kind := reflect.ValueOf(v).Kind(); kind != reflect.Slice && kind != reflect.Array {
		return errType
	}
	return nil
}

func requireListOrObject(v any) error {
	if _, ok := v.(map[string]any); ok {
		return nil
	}
	return requireList(v)
}

// requireNotText refuses a text of which an element is read, because that would be a byte.
func requireNotText(v any) error {
	if _, ok := v.(string); ok {
		return errType
	}
	return nil
}

func requireNumeric(v any) error {
	switch v.(type) {
	case int, float64:
		return nil
	}
	return requireList(v)
}

// requireKey refuses values that the library would change to another key or index: nil to
// the empty key, and 1.9 to 1.
func requireKey(v any) error {
	switch v := v.(type) {
	case nil:
		return errType
	case float64:
		if v != math.Trunc(v) {
			return errNumber
		}
	}
	return requireComparable(v)
}

func requireDecodable(v any) error {
	if text, ok := v.(string); ok && strings.ContainsRune(text, utf8.RuneError) {
		return errUndecodable
	}
	return nil
}

// requireExact refuses NaN, and a number so large that the one in the JSON of the session
// may have been another one.
func requireExact(v any) error {
	switch v := v.(type) {
	case float64:
		if !(math.Abs(v) < maxExact) { // also true for NaN
			return errNumber
		}
	case int:
		return requireFinite(v)
	}
	return nil
}

func requireFinite(v any) error {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errNumber
		}
	case int:
		if v <= -maxInt || v >= maxInt {
			return errNumber
		}
	}
	return nil
}

// requireComparable refuses a value that may equal another one although the two were
// different in the JSON of the session. It is enough to check one side of a comparison:
// a value that equals a checked value would pass the check too.
func requireComparable(v any) error {
	switch v := v.(type) {
	case string:
		return requireDecodable(v)
	case int, float64:
		return requireExact(v)
	case []any:
		for _, e := range v {
			if err := requireComparable(e); err != nil {
				return err
			}
		}
	case []string:
		for _, e := range v {
			if err := requireDecodable(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, e := range v {
			if err := requireDecodable(name); err != nil {
				return err
			}
			if err := requireComparable(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// multiply returns the product of two numbers. It refuses a product of integers that
// would overflow.
func multiply(a, b any) any {
	x, ok1 := a.(int)
	y, ok2 := b.(int)
	if ok1 && ok2 && math.Abs(float64(x)*float64(y)) >= maxInt {
		panic(errNumber)
	}
	out := runtime.Multiply(a, b)
	if err := requireFinite(out); err != nil {
		panic(err)
	}
	return out
}

// contains reports whether a list has an element, or an object a field. The library would
// look nil up as the field with the empty name.
func (m *meter) contains(needle, in any) any {
	m.spend(m.lookupCost(in) + m.deepCost(needle))
	fields, isMap := in.(map[string]any)
	if in == nil || isMap && needle == nil {
		return false
	}
	if err := requireComparable(needle); err != nil {
		panic(err)
	}
	if isMap {
		_, has := fields[needle.(string)]
		return has
	}
	return runtime.In(needle, in)
}

// withStrictness is the option of the compiler that puts the functions into an
// expression. It comes before withMeter.
func withStrictness(writesJSON bool) expr.Option { return expr.Patch(strictness{writesJSON}) }

// strictness puts calls of the functions into an expression.
type strictness struct {
	// writesJSON is set if the expression calls toJSON. It would write nil as null. So the lists and
	// objects that the expression makes must not have nil elements; those of the session may.
	writesJSON bool
}

// Visit implements ast.Visitor.
func (s strictness) Visit(n *ast.Node) {
	switch node := (*n).(type) {
	case *ast.BuiltinNode:
		s.builtin(n, node)
	case *ast.CallNode:
		if name, ok := node.Callee.(*ast.IdentifierNode); ok && name.Value == "replace" && len(node.Arguments) > 1 {
			wrapCall(&node.Arguments[1], strictKey)
		}
	case *ast.BinaryNode:
		strictBinary(n, node)
	case *ast.MemberNode:
		if _, name := node.Property.(*ast.StringNode); name || isRequest(node.Node) {
			return // reading a named field of a text is an error in the library too
		}
		wrapCall(&node.Property, strictKey)
		wrapCall(&node.Node, strictNotText)
	case *ast.SliceNode:
		for _, end := range []*ast.Node{&node.From, &node.To} {
			if *end != nil {
				wrapCall(end, strictKey)
			}
		}
	case *ast.ArrayNode:
		for i := range node.Nodes {
			s.element(&node.Nodes[i])
		}
	case *ast.PairNode:
		s.element(&node.Value)
	}
}

func (s strictness) element(n *ast.Node) {
	if s.writesJSON {
		wrapCall(n, strictPresent)
	}
}

// takesKey are the functions whose second argument is a key or index of the first, or is
// searched for in it.
var takesKey = map[string]bool{
	"trimPrefix": true, "trimSuffix": true, "split": true, "splitAfter": true, "indexOf": true, "lastIndexOf": true,
	"hasPrefix": true, "hasSuffix": true, "get": true, "take": true,
}

func (s strictness) builtin(n *ast.Node, node *ast.BuiltinNode) {
	args := node.Arguments
	if takesKey[node.Name] {
		for i := 1; i < len(args); i++ {
			wrapCall(&args[i], strictKey)
		}
	}
	switch node.Name {
	case "all", "none", "any", "one", "filter", "map", "find", "findIndex", "findLast", "findLastIndex", "count", "sum", "sortBy",
		"first", "last", "sort":
		wrapCall(&args[0], strictList)
	case "get":
		wrapCall(&args[0], strictListOrObject)
	case "max", "min":
		for i := range args {
			wrapCall(&args[i], strictNumeric)
		}
	case "int":
		wrapCall(&args[0], strictExact)
	}
	switch node.Name {
	case "map":
		if by, ok := args[1].(*ast.PredicateNode); ok {
			s.element(&by.Node)
		}
	case "sum":
		if len(args) > 1 {
			if by, ok := args[1].(*ast.PredicateNode); ok {
				wrapCall(&by.Node, strictFloat)
			}
		}
		wrapCall(n, strictFinite)
	case "int", "float":
		wrapCall(n, strictFinite)
	}
}

func strictBinary(n *ast.Node, node *ast.BinaryNode) {
	switch node.Operator {
	case "==", "!=":
		checkComparison(node)
	case "in":
		if isLiteralList(node.Right) {
			return
		}
		ast.Patch(n, &ast.CallNode{Callee: &ast.IdentifierNode{Value: strictIn}, Arguments: []ast.Node{node.Left, node.Right}})
	case "startsWith", "endsWith", "contains":
		wrapCall(&node.Right, strictDecodable)
	case "*":
		ast.Patch(n, &ast.CallNode{Callee: &ast.IdentifierNode{Value: strictMultiply}, Arguments: []ast.Node{node.Left, node.Right}})
	case "+", "-", "/", "**", "^":
		wrapCall(n, strictFinite)
	}
}

// checkComparison puts a check around one side of a comparison for equality. Comparing
// with a literal needs no check, unless the literal is a number that is not exact.
func checkComparison(node *ast.BinaryNode) {
	switch {
	case !isLiteral(node.Left) && !isLiteral(node.Right):
		wrapCall(&node.Left, strictComparable)
	case isInexact(node.Right):
		wrapCall(&node.Left, strictExact)
	case isInexact(node.Left):
		wrapCall(&node.Right, strictExact)
	}
}

// isInexact reports whether a node is a literal number that is not exact.
func isInexact(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return requireExact(n.Value) != nil
	case *ast.FloatNode:
		return requireExact(n.Value) != nil
	case *ast.UnaryNode:
		return isInexact(n.Node)
	}
	return false
}

// isLiteralList reports whether a node is a list of literals without inexact numbers.
func isLiteralList(n ast.Node) bool {
	list, ok := n.(*ast.ArrayNode)
	return ok && !slices.ContainsFunc(list.Nodes, func(e ast.Node) bool { return !isLiteral(e) || isInexact(e) })
}
