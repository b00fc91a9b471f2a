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

// The library bounds how many elements an expression makes. It bounds neither the steps
// nor the length of strings: two nested loops over a session take the square of its
// size. So compile puts calls of a meter into each expression: around the body of each
// loop, and around the operands and results of operators and functions whose cost
// depends on the size of a value.
//
// The meter counts steps. A step is an operation, an element of a list or map, or
// textStep bytes of text.

const (
	// maxSteps is how many steps one evaluation of an expression may take. That is enough to read a
	// session of maximum size several times, and takes less than a tenth of a second.
	maxSteps = 1 << 20
	// textStep is how many bytes of text are one step.
	textStep = 16
)

// maxTime is how long all expressions of the grants together may take for one
// connection. Unless the machine is overloaded, maxSteps ends an expression long before.
const maxTime = time.Second

var (
	errSteps = errors.New("too many steps")
	errLate  = errors.New("out of time")
)

// meter counts the steps of an expression.
type meter struct {
	left     int       // steps that the expression may still take
	calls    uint      // of spend, for this connection
	deadline time.Time // zero until spend has read the clock once
	late     bool      // the deadline has ended an expression
}

// begin prepares the meter for a connection.
func (m *meter) begin() { m.calls, m.deadline, m.late = 0, time.Time{}, false }

// spend counts steps. It is called before the work, or after it if the size is only
// known then. If no steps are left, it ends the evaluation with a panic, which the
// virtual machine recovers.
func (m *meter) spend(steps int) {
	if m.left -= steps; m.left < 0 {
		panic(errSteps)
	}
	if m.calls++; m.calls%1024 != 0 { // most expressions end before the clock must be read
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

// Names of the meter's functions among the variables of an expression. An expression
// cannot call them itself, because of the exclamation mark. Each returns its first
// argument after it has counted its cost:
const (
	meterStep    = "step!"    // as many steps as the second argument says
	meterShallow = "shallow!" // see shallowCost
	meterBytes   = "bytes!"   // see byteCost
	meterDeep    = "deep!"    // see deepCost
	meterSort    = "sort!"    // see sortCost
	meterPattern = "pattern!" // as many steps for each byte as the second argument says
)

var meterTypes = types.Map{
	meterStep:    types.TypeOf(func(any, any) any { return nil }),
	meterPattern: types.TypeOf(func(any, any) any { return nil }),
	meterShallow: meterType, meterBytes: meterType, meterDeep: meterType, meterSort: meterType,
}

var meterType = types.TypeOf(func(any) any { return nil })

// functions returns the functions of the meter by their names.
func (m *meter) functions() map[string]any {
	charged := func(cost func(v any) int) func(any) any {
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
			m.spend(byteCost(text) * steps)
			return text
		},
		meterShallow: charged(shallowCost), meterBytes: charged(byteCost), meterDeep: charged(m.deepCost), meterSort: charged(m.sortCost),
	}
}

// shallowCost is the cost of a value without the content of its elements.
func shallowCost(v any) int {
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

// byteCost is the cost of a text with one step for each byte.
func byteCost(v any) int {
	if text, ok := v.(string); ok {
		return 1 + len(text)
	}
	return 1
}

// deepCost is the cost of a value with all that it contains. A value may contain another
// one many times, so the cost can be far larger than its memory. Counting ends when no
// steps are left.
func (m *meter) deepCost(v any) int {
	steps := 0
	m.addDeepCost(v, &steps)
	return steps
}

func (m *meter) addDeepCost(v any, steps *int) {
	*steps++
	if *steps > m.left {
		return
	}
	switch v := v.(type) {
	case string:
		*steps += len(v) / textStep
	case []any:
		for i := 0; i < len(v) && *steps <= m.left; i++ {
			m.addDeepCost(v[i], steps)
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
			m.addDeepCost(inner, steps)
		}
	case *requestVariables:
		m.addDeepCost(v.Headers, steps)
		m.addDeepCost(v.Cookies, steps)
	}
}

// lookupCost is the cost of searching an element in a list or a key in a map.
func (m *meter) lookupCost(v any) int {
	if _, ok := v.(map[string]any); ok {
		return 1
	}
	return m.deepCost(v)
}

// sortCost is the cost of sorting a list.
func (m *meter) sortCost(v any) int { return m.deepCost(v) * bits.Len(uint(shallowCost(v))) }

// withMeter is the option of the compiler that puts the meter into an expression.
func withMeter() expr.Option { return expr.Patch(metering{}) }

// metering puts the calls of the meter into an expression, the inner ones first.
type metering struct{}

// Visit implements ast.Visitor.
func (metering) Visit(n *ast.Node) {
	switch node := (*n).(type) {
	case *ast.PredicateNode:
		meterLoop(node)
	case *ast.BuiltinNode:
		meterBuiltin(n, node)
	case *ast.CallNode:
		if name, ok := node.Callee.(*ast.IdentifierNode); ok && ownFunctions[name.Value] {
			meterOwnFunction(n, node, name.Value)
		}
	case *ast.BinaryNode:
		meterBinary(node)
	case *ast.MemberNode:
		if !isRequest(node.Node) { // a name from a session may be long
			wrapCall(&node.Property, meterShallow)
		}
	}
}

// wrapCall puts a call of the named function around a node, unless the node is a literal.
func wrapCall(n *ast.Node, function string) {
	if !isLiteral(*n) {
		ast.Patch(n, &ast.CallNode{Callee: &ast.IdentifierNode{Value: function}, Arguments: []ast.Node{*n}})
	}
}

// isLiteral reports whether a node is a literal value, whose size the size of the
// expression bounds.
func isLiteral(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.ConstantNode:
		return true
	case *ast.UnaryNode:
		return isLiteral(n.Node)
	}
	return false
}

// meterLoop puts the meter around the body of a loop. Its cost is the number of nodes.
func meterLoop(n *ast.PredicateNode) {
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

// constantCost are the functions whose cost does not depend on the size of their
// arguments.
var constantCost = map[string]bool{
	"first": true, "last": true, "take": true, "type": true, "abs": true, "ceil": true, "floor": true, "round": true,
}

// readsElements are the functions that read the content of the elements of a list.
var readsElements = map[string]bool{"min": true, "max": true, "toJSON": true, "join": true}

// meterBuiltin puts the meter around the arguments and the result of a function of the
// library. The results of loops need no meter, because the library counts the elements.
func meterBuiltin(n *ast.Node, node *ast.BuiltinNode) {
	switch {
	case constantCost[node.Name]:
	case node.Name == "sort":
		wrapCall(&node.Arguments[0], meterSort)
	case node.Name == "sortBy":
		wrapCall(&node.Arguments[0], meterSort)
		// Each key takes part in several comparisons, so each of its bytes counts as a step.
		if by, ok := node.Arguments[1].(*ast.PredicateNode); ok {
			wrapCall(&by.Node, meterBytes)
		}
	case node.Name == "get":
		wrapCall(&node.Arguments[1], meterShallow)
	case node.Name == "fromJSON":
		wrapCall(&node.Arguments[0], meterShallow)
		wrapCall(n, meterDeep)
	case len(node.Arguments) > 1 && isPredicate(node.Arguments[1]):
	default:
		meterArguments(node.Arguments, node.Name)
		wrapCall(n, meterShallow)
	}
}

// meterArguments puts the meter around the arguments of the named function.
func meterArguments(list []ast.Node, name string) {
	function := meterShallow
	if readsElements[name] {
		function = meterDeep
	}
	for i := range list {
		wrapCall(&list[i], function)
	}
}

func isPredicate(n ast.Node) bool {
	_, ok := n.(*ast.PredicateNode)
	return ok
}

// meterOwnFunction is meterBuiltin for a function of this package.
func meterOwnFunction(n *ast.Node, node *ast.CallNode, name string) {
	meterArguments(node.Arguments, name)
	wrapCall(n, meterShallow)
}

// meterBinary puts the meter around the operands of an operator.
func meterBinary(n *ast.BinaryNode) {
	switch n.Operator {
	case "==", "!=":
		if !isLiteral(n.Right) { // a literal bounds the cost of the comparison
			wrapCall(&n.Left, meterDeep)
		}
	case "in": // the right operand is a literal list; for other lists contains counts the cost
		wrapCall(&n.Left, meterShallow)
	case "matches":
		meterMatches(n)
	case "startsWith", "endsWith":
		wrapCall(&n.Right, meterShallow)
	case "+", "contains", "<", "<=", ">", ">=":
		if n.Operator == "+" || n.Operator == "contains" || !isLiteral(n.Right) && !isLiteral(n.Left) {
			wrapCall(&n.Left, meterShallow)
			wrapCall(&n.Right, meterShallow)
		}
	}
}

// instructionsPerStep is how many instructions of a pattern are one step for each byte
// of the text. Package regexp follows all alternatives of a pattern at once, so the time
// for each byte may be in proportion to the size of the pattern.
const instructionsPerStep = 8

// meterMatches puts the meter around the text that is matched with a pattern.
func meterMatches(n *ast.BinaryNode) {
	if isLiteral(n.Left) {
		return
	}
	steps := 1
	if pattern, ok := n.Right.(*ast.StringNode); ok { // always, because inspector refuses other patterns
		steps += patternSize(pattern.Value) / instructionsPerStep
	}
	ast.Patch(&n.Left, &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: meterPattern},
		Arguments: []ast.Node{n.Left, &ast.IntegerNode{Value: steps}},
	})
}

// patternSize returns how many instructions a pattern has.
func patternSize(pattern string) int {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // the compiler of expressions reports this
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
