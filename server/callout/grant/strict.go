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

// The library takes values of other types than it needs in several places, and answers as if there were nothing: a text
// is a list of bytes, none of which equals a role; the first element of an object is nil. Numbers run over, or are none
// (NaN), to which nothing compares. A condition may be a negation, so each of these could give a grant. So calls of the
// functions below are put into each expression: they refuse such a value where it is read or made.

// Names of these functions, which no text of an expression is read as.
const (
	there     = "there!"     // not absent
	list      = "list!"      // a list
	container = "container!" // a list, or an object
	noText    = "noText!"    // not a text
	numeric   = "numeric!"   // a number, or a list
	key       = "key!"       // the key or index of an element, or what a text is searched for
	decodable = "decodable!" // see undecodable
	same      = "same!"      // a value that is compared with another one
	whole     = "exact!"     // a number that is exact
	finite    = "finite!"    // what a calculation gave
	real      = "real!"      // an integer as a float, which does not run over
	product   = "product!"   // a * b
	within    = "within!"    // a in b
)

var strictTypes = types.Map{
	there: meterType, list: meterType, container: meterType, noText: meterType, numeric: meterType, key: meterType, decodable: meterType,
	same: meterType, whole: meterType, finite: meterType, real: meterType,
	product: types.TypeOf(func(any, any) any { return nil }), within: types.TypeOf(func(any, any) any { return nil }),
}

// strictFunctions returns the functions. Those that look at a whole value charge it to the meter first.
func (m *meter) strictFunctions() map[string]any {
	of := func(fault func(v any) error) func(any) any {
		return func(v any) any {
			if err := fault(v); err != nil {
				panic(err)
			}
			return v
		}
	}
	return map[string]any{
		there: of(isThere), list: of(isListOf), container: of(isContainer), noText: of(isNoText), numeric: of(isNumeric), key: of(isKey),
		decodable: of(isDecodable), whole: of(isExact), finite: of(isFinite),
		same: func(v any) any {
			m.spend(m.whole(v))
			if err := isCertain(v); err != nil {
				panic(err)
			}
			return v
		},
		real: func(v any) any {
			if n, ok := v.(int); ok {
				return float64(n)
			}
			return v
		},
		product: multiply,
		within:  m.within,
	}
}

func isThere(v any) error {
	if v == nil {
		return errType
	}
	return nil
}

func isListOf(v any) error {
	if kind := reflect.ValueOf(v).Kind(); kind != reflect.Slice && kind != reflect.Array {
		return errType
	}
	return nil
}

func isContainer(v any) error {
	if _, ok := v.(map[string]any); ok {
		return nil
	}
	return isListOf(v)
}

// isNoText refuses a text where an element is read: that would be a byte.
func isNoText(v any) error {
	if _, ok := v.(string); ok {
		return errType
	}
	return nil
}

func isNumeric(v any) error {
	switch v.(type) {
	case int, float64:
		return nil
	}
	return isListOf(v)
}

// isKey refuses what would be another key or index than was meant: an absent one would be the empty key, and of 1.9 the
// library makes 1.
func isKey(v any) error {
	switch v := v.(type) {
	case nil:
		return errType
	case float64:
		if v != math.Trunc(v) {
			return errNumber
		}
	}
	return isCertain(v)
}

func isDecodable(v any) error {
	if text, ok := v.(string); ok && strings.ContainsRune(text, utf8.RuneError) {
		return errUndecodable
	}
	return nil
}

// isExact tells of a number that may stand for another one than was written. NaN is none.
func isExact(v any) error {
	switch v := v.(type) {
	case float64:
		if !(math.Abs(v) < maxExact) {
			return errNumber
		}
	case int:
		return isFinite(v)
	}
	return nil
}

func isFinite(v any) error {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errNumber
		}
	case int:
		if v <= -maxExact || v >= maxExact {
			return errNumber
		}
	}
	return nil
}

// isCertain tells of a value that may equal another one although the two were written differently. If nothing in the
// one is such, then what equals it is not, either: one side of a comparison is enough.
func isCertain(v any) error {
	switch v := v.(type) {
	case string:
		return isDecodable(v)
	case int, float64:
		return isExact(v)
	case []any:
		for _, e := range v {
			if err := isCertain(e); err != nil {
				return err
			}
		}
	case []string:
		for _, e := range v {
			if err := isDecodable(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, e := range v {
			if err := isDecodable(name); err != nil {
				return err
			}
			if err := isCertain(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// multiply is the product. That of two integers may run over.
func multiply(a, b any) any {
	x, ok1 := a.(int)
	y, ok2 := b.(int)
	if ok1 && ok2 && math.Abs(float64(x)*float64(y)) >= maxExact {
		panic(errNumber)
	}
	out := runtime.Multiply(a, b)
	if err := isFinite(out); err != nil {
		panic(err)
	}
	return out
}

// within tells whether a list has an element, or an object a field. The library finds what is absent under the empty
// name.
func (m *meter) within(needle, in any) any {
	m.spend(m.list(in) + m.whole(needle))
	fields, isMap := in.(map[string]any)
	if in == nil || isMap && needle == nil {
		return false
	}
	if err := isCertain(needle); err != nil {
		panic(err)
	}
	if isMap {
		_, has := fields[needle.(string)]
		return has
	}
	return runtime.In(needle, in)
}

// strictly is the option that puts the functions into an expression, before the meter.
func strictly(writesJSON bool) expr.Option { return expr.Patch(strictness{writesJSON}) }

// strictness puts calls of the functions into an expression.
type strictness struct {
	// writesJSON: the expression has toJSON in it, which would write the absent elements of a list or an object that the
	// expression makes as null. What is null in a session itself may be written so.
	writesJSON bool
}

// Visit implements ast.Visitor.
func (s strictness) Visit(n *ast.Node) {
	switch node := (*n).(type) {
	case *ast.BuiltinNode:
		s.builtin(n, node)
	case *ast.CallNode:
		if name, ok := node.Callee.(*ast.IdentifierNode); ok && name.Value == "replace" && len(node.Arguments) > 1 {
			charge(&node.Arguments[1], key)
		}
	case *ast.BinaryNode:
		strictBinary(n, node)
	case *ast.MemberNode:
		if _, name := node.Property.(*ast.StringNode); name || isRequest(node.Node) {
			return // no text has a field
		}
		charge(&node.Property, key)
		charge(&node.Node, noText)
	case *ast.SliceNode:
		for _, end := range []*ast.Node{&node.From, &node.To} {
			if *end != nil {
				charge(end, key)
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
		charge(n, there)
	}
}

// searching are the functions whose second argument is searched for in the first, or finds an element of it.
var searching = map[string]bool{
	"trimPrefix": true, "trimSuffix": true, "split": true, "splitAfter": true, "indexOf": true, "lastIndexOf": true,
	"hasPrefix": true, "hasSuffix": true, "get": true, "take": true,
}

func (s strictness) builtin(n *ast.Node, node *ast.BuiltinNode) {
	args := node.Arguments
	if searching[node.Name] {
		for i := 1; i < len(args); i++ {
			charge(&args[i], key)
		}
	}
	switch node.Name {
	case "all", "none", "any", "one", "filter", "map", "find", "findIndex", "findLast", "findLastIndex", "count", "sum", "sortBy",
		"first", "last", "sort":
		charge(&args[0], list)
	case "get":
		charge(&args[0], container)
	case "max", "min":
		for i := range args {
			charge(&args[i], numeric)
		}
	case "int":
		charge(&args[0], whole)
	}
	switch node.Name {
	case "map":
		if by, ok := args[1].(*ast.PredicateNode); ok {
			s.element(&by.Node)
		}
	case "sum":
		if len(args) > 1 {
			if by, ok := args[1].(*ast.PredicateNode); ok {
				charge(&by.Node, real)
			}
		}
		charge(n, finite)
	case "int", "float":
		charge(n, finite)
	}
}

func strictBinary(n *ast.Node, node *ast.BinaryNode) {
	switch node.Operator {
	case "==", "!=":
		compared(node)
	case "in":
		if writtenOut(node.Right) {
			return
		}
		ast.Patch(n, &ast.CallNode{Callee: &ast.IdentifierNode{Value: within}, Arguments: []ast.Node{node.Left, node.Right}})
	case "startsWith", "endsWith", "contains":
		charge(&node.Right, decodable)
	case "*":
		ast.Patch(n, &ast.CallNode{Callee: &ast.IdentifierNode{Value: product}, Arguments: []ast.Node{node.Left, node.Right}})
	case "+", "-", "/", "**", "^":
		charge(n, finite)
	}
}

// compared puts a check around one side of a comparison for equality. A value that is written out is what it is, unless it is
// a number that is not exact.
func compared(node *ast.BinaryNode) {
	switch {
	case !constant(node.Left) && !constant(node.Right):
		charge(&node.Left, same)
	case inexact(node.Right):
		charge(&node.Left, whole)
	case inexact(node.Left):
		charge(&node.Right, whole)
	}
}

// inexact tells whether a node is a number, written out, that is not exact.
func inexact(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return isExact(n.Value) != nil
	case *ast.FloatNode:
		return isExact(n.Value) != nil
	case *ast.UnaryNode:
		return inexact(n.Node)
	}
	return false
}

// writtenOut tells whether a list has only values that are written out, and are what they are.
func writtenOut(n ast.Node) bool {
	list, ok := n.(*ast.ArrayNode)
	return ok && !slices.ContainsFunc(list.Nodes, func(e ast.Node) bool { return !constant(e) || inexact(e) })
}
