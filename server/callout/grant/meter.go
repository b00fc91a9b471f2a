package grant

import (
	"errors"
	"math/bits"
	"regexp/syntax"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/types"
)

// The library bounds how many elements an expression makes, but neither its steps nor the text that it
// makes or reads: one loop in another over the content of a session takes the square of its size. So
// calls of a meter are put into each expression when it is compiled: around the body of each loop, and
// around what operators and functions read and make whose cost depends on the size of a value.
//
// The unit of the meter is one step: an operation, an element of a list or map, or textStep bytes of text.

const (
	// maxSteps is how many steps one evaluation of an expression may take. A session of the largest size
	// can be read several times; the time is below a tenth of a second.
	maxSteps = 1 << 20
	// textStep is how many bytes of text are one step.
	textStep = 16
)

// maxTime is how long all expressions of the grants may take for one connection. It is far above what
// maxSteps allows, unless the machine is overloaded.
const maxTime = time.Second

var (
	errSteps = errors.New("too many steps")
	errLate  = errors.New("out of time")
)

// meter counts the steps of an expression.
type meter struct {
	left     int
	calls    uint
	deadline time.Time // zero: nothing has taken time yet
	late     bool      // an expression was ended by the deadline
}

// begin is called for each connection.
func (m *meter) begin() { m.calls, m.deadline, m.late = 0, time.Time{}, false }

// spend is called before work of that many steps is done, or after it where its size shows only then.
// It ends the evaluation when there are no steps left: the machine recovers the panic.
func (m *meter) spend(steps int) {
	if m.left -= steps; m.left < 0 {
		panic(errSteps)
	}
	if m.calls++; m.calls%1024 != 0 { // most expressions need not know the time
		return
	}
	now := time.Now()
	if m.deadline.IsZero() {
		m.deadline = now.Add(maxTime)
	}
	if now.After(m.deadline) {
		m.late = true
		panic(errLate)
	}
}

// Names of the meter's functions among the variables of an expression. No text of an expression is read
// as such a name, because of the exclamation mark.
const (
	meterStep   = "step!"   // of the body of a loop, which has that many nodes
	meterFlat   = "flat!"   // of a value whose own length counts
	meterScan   = "scan!"   // of a text, each byte of which is a step
	meterWhole  = "whole!"  // of a value with all that is in it
	meterSorted = "sorted!" // of a list that is sorted
	// meterPattern is of a text that is matched with a pattern, each byte of which is so many steps.
	meterPattern = "pattern!"
)

var meterTypes = types.Map{
	meterStep:    types.TypeOf(func(any, any) any { return nil }),
	meterPattern: types.TypeOf(func(any, any) any { return nil }),
	meterFlat:    meterType, meterScan: meterType, meterWhole: meterType, meterSorted: meterType,
}

var meterType = types.TypeOf(func(any) any { return nil })

// functions returns the meter's functions.
func (m *meter) functions() map[string]any {
	of := func(cost func(v any) int) func(any) any {
		return func(v any) any {
			m.spend(cost(v))
			return v
		}
	}
	return map[string]any{
		meterStep: func(value, nodes any) any {
			steps, _ := nodes.(int)
			m.spend(steps)
			return value
		},
		meterPattern: func(text, perByte any) any {
			steps, _ := perByte.(int)
			m.spend(scan(text) * steps)
			return text
		},
		meterFlat: of(flat), meterScan: of(scan), meterWhole: of(m.whole), meterSorted: of(m.sorted),
	}
}

// flat counts the length of a text, list or map.
func flat(v any) int {
	switch v := v.(type) {
	case string:
		return 1 + len(v)/textStep
	case []any:
		return 1 + len(v)
	case []string:
		return 1 + len(v)
	case map[string]any:
		return 1 + len(v)
	}
	return 1
}

func scan(v any) int {
	if text, ok := v.(string); ok {
		return 1 + len(text)
	}
	return 1
}

// whole counts a value with all that is in it. A value may contain another many times, so that its
// whole size can be far larger than its memory: counting ends where no steps are left.
func (m *meter) whole(v any) int {
	steps := 0
	m.count(v, &steps)
	return steps
}

func (m *meter) count(v any, steps *int) {
	*steps++
	if *steps > m.left {
		return
	}
	switch v := v.(type) {
	case string:
		*steps += len(v) / textStep
	case []any:
		for i := 0; i < len(v) && *steps <= m.left; i++ {
			m.count(v[i], steps)
		}
	case []string:
		for i := 0; i < len(v) && *steps <= m.left; i++ {
			*steps += 1 + len(v[i])/textStep
		}
	case map[string]any:
		for name, inner := range v {
			if *steps += len(name) / textStep; *steps > m.left {
				return
			}
			m.count(inner, steps)
		}
	case *requestVariables:
		m.count(v.Headers, steps)
		m.count(v.Cookies, steps)
	}
}

// list counts a list with all that is in it, and of a map the look-up of a key.
func (m *meter) list(v any) int {
	if _, ok := v.(map[string]any); ok {
		return 1
	}
	return m.whole(v)
}

func (m *meter) sorted(v any) int { return m.whole(v) * bits.Len(uint(flat(v))) }

// metered compiles nothing by itself: it is the option that puts the meter into an expression.
func metered() expr.Option { return expr.Patch(metering{}) }

// metering puts the calls of the meter into an expression, the inner ones first.
type metering struct{}

// Visit implements ast.Visitor.
func (metering) Visit(n *ast.Node) {
	switch node := (*n).(type) {
	case *ast.PredicateNode:
		loop(node)
	case *ast.BuiltinNode:
		builtinCall(n, node)
	case *ast.CallNode:
		if name, ok := node.Callee.(*ast.IdentifierNode); ok && ownFunctions[name.Value] {
			ownCall(n, node, name.Value)
		}
	case *ast.BinaryNode:
		binary(node)
	case *ast.MemberNode:
		if !isRequest(node.Node) { // a name that is not written out: as long as a text may be
			charge(&node.Property, meterFlat)
		}
	}
}

// charge puts a call of the meter around a node, unless its value is written out.
func charge(n *ast.Node, by string) {
	if !constant(*n) {
		ast.Patch(n, &ast.CallNode{Callee: &ast.IdentifierNode{Value: by}, Arguments: []ast.Node{*n}})
	}
}

// constant tells whether a node is a value that is written out, whose size is that of the expression.
func constant(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.ConstantNode:
		return true
	case *ast.UnaryNode:
		return constant(n.Node)
	}
	return false
}

// loop puts the meter around what is done for each element.
func loop(n *ast.PredicateNode) {
	steps := &nodeCounter{}
	ast.Walk(&n.Node, steps)
	ast.Patch(&n.Node, &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: meterStep},
		Arguments: []ast.Node{n.Node, &ast.IntegerNode{Value: 1 + steps.nodes}},
	})
}

type nodeCounter struct{ nodes int }

// Visit implements ast.Visitor.
func (c *nodeCounter) Visit(*ast.Node) { c.nodes++ }

// ofConstantCost are the functions whose cost does not depend on the size of their arguments.
var ofConstantCost = map[string]bool{
	"first": true, "last": true, "take": true, "type": true, "abs": true, "ceil": true, "floor": true, "round": true,
}

// deep are those that look at what is in the elements of a list too.
var deep = map[string]bool{"min": true, "max": true, "toJSON": true, "join": true}

// builtinCall puts the meter around the arguments of a function of the library, and around what it
// returns. Loops make elements, which the library counts.
func builtinCall(n *ast.Node, node *ast.BuiltinNode) {
	switch {
	case ofConstantCost[node.Name]:
	case node.Name == "sort":
		charge(&node.Arguments[0], meterSorted)
	case node.Name == "sortBy":
		charge(&node.Arguments[0], meterSorted)
		// What the elements are sorted by is compared as often as a step has bytes.
		if by, ok := node.Arguments[1].(*ast.PredicateNode); ok {
			charge(&by.Node, meterScan)
		}
	case node.Name == "get":
		charge(&node.Arguments[1], meterFlat)
	case node.Name == "fromJSON":
		charge(&node.Arguments[0], meterFlat)
		charge(n, meterWhole)
	case len(node.Arguments) > 1 && isPredicate(node.Arguments[1]):
	default:
		arguments(node.Arguments, node.Name)
		charge(n, meterFlat)
	}
}

func arguments(list []ast.Node, name string) {
	by := meterFlat
	if deep[name] {
		by = meterWhole
	}
	for i := range list {
		charge(&list[i], by)
	}
}

func isPredicate(n ast.Node) bool {
	_, ok := n.(*ast.PredicateNode)
	return ok
}

// ownCall is builtinCall for a function of ours.
func ownCall(n *ast.Node, node *ast.CallNode, name string) {
	arguments(node.Arguments, name)
	charge(n, meterFlat)
}

// binary puts the meter around the operands of an operator.
func binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "==", "!=":
		if !constant(n.Right) { // else it is as long as what is written out
			charge(&n.Left, meterWhole)
		}
	case "in": // of a list that is written out; others are charged by within
		charge(&n.Left, meterFlat)
	case "matches":
		matched(n)
	case "startsWith", "endsWith":
		charge(&n.Right, meterFlat)
	case "+", "contains", "<", "<=", ">", ">=":
		if n.Operator == "+" || n.Operator == "contains" || !constant(n.Right) && !constant(n.Left) {
			charge(&n.Left, meterFlat)
			charge(&n.Right, meterFlat)
		}
	}
}

// instructions of a pattern are a step, for each byte of the text: package regexp follows all ways through the pattern
// at once, so that each byte may take a time in proportion to the pattern.
const instructions = 8

// matched puts the meter around the text that is matched.
func matched(n *ast.BinaryNode) {
	if constant(n.Left) {
		return
	}
	steps := 1
	if pattern, ok := n.Right.(*ast.StringNode); ok { // as the inspector has seen to
		steps += patternSize(pattern.Value) / instructions
	}
	ast.Patch(&n.Left, &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: meterPattern},
		Arguments: []ast.Node{n.Left, &ast.IntegerNode{Value: steps}},
	})
}

// patternSize is how many instructions a pattern has.
func patternSize(pattern string) int {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // the compiler of expressions tells
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	return len(program.Inst)
}

func isRequest(n ast.Node) bool {
	name, ok := n.(*ast.IdentifierNode)
	return ok && name.Value == "request"
}
