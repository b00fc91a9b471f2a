package grant

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// expression is a compiled condition, or a compiled expression between {{ and }} in a
// template.
type expression struct {
	source string
	path   []string // of an expression such as session.user.id, which needs no virtual machine; nil for others
	node   ast.Node
	*vm.Program
	uses
}

// uses says which data an expression reads.
type uses struct {
	session    bool
	request    bool
	secret     bool // the credential, cookies, or headers with credentials
	unverified bool // data that the client chooses and nobody has verified
}

// maxNodes is the maximum size of an expression, in nodes of its syntax tree.
const maxNodes = 1000

// compile compiles an expression. The error has the column of the fault.
func compile(source string) (*expression, error) {
	source = strings.TrimSpace(source)
	if source == "" {
		return nil, errors.New("expression is empty")
	}
	program, err := expr.Compile(source, compileOptions...)
	if err != nil {
		return nil, compileError(source, err)
	}
	e := &expression{source: source, Program: program, node: program.Node()}
	c := &inspector{}
	ast.Walk(&e.node, c)
	if c.fault != "" {
		return nil, errors.New(c.fault)
	}
	e.uses = c.uses()
	e.path = pathOf(e.node)
	// The first compilation reports faults as the expression is written. The second one adds
	// the calls of strict.go and meter.go.
	if e.Program, err = expr.Compile(source, append(slices.Clip(compileOptions), withStrictness(c.json), withMeter())...); err != nil {
		return nil, compileError(source, err)
	}
	return e, nil
}

// compileCondition compiles an expression whose value may be true or false.
func compileCondition(source string) (*expression, error) {
	e, err := compile(source)
	if err != nil {
		return nil, err
	}
	switch t := e.node.Type(); {
	case t == nil, t.Kind() == reflect.Interface, t.Kind() == reflect.Bool:
		return e, nil
	default:
		return nil, fmt.Errorf("expected a condition, which is true or false; found an expression of type %s", t)
	}
}

// unexpectedToken matches the library's name of a token, such as Operator("=").
var unexpectedToken = regexp.MustCompile(`unexpected token \w+\("(.*)"\)`)

// compileError returns the error of the library about source in one line, in words that do not need its source code.
func compileError(source string, err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	text, _, _ := strings.Cut(at.Message, "\n")
	text = strings.NewReplacer("grant.requestVariables", "request", "*", "").Replace(text)
	if name, ok := strings.CutPrefix(text, "unknown name "); ok {
		text = unknownName(name, strings.Contains(source, name+"("))
	}
	text = unexpectedToken.ReplaceAllString(text, "unexpected $1")
	text = strings.Replace(text, "unexpected token EOF", "unexpected end of the expression", 1)
	if text == "unexpected =" {
		text += "; to compare, write =="
	}
	return fmt.Errorf("%s (column %d)", text, at.Column+1)
}

// unknownName is the error for a name that is neither a variable nor a function.
func unknownName(name string, isCalled bool) string {
	if isCalled {
		return "unknown function " + name + "; docs/callout-grants.md lists the functions"
	}
	return fmt.Sprintf("unknown name %s; expected one of session, credential, request, source, or a text in quotes: %q", name, name)
}

// run returns the value of the expression, or the reason why it has none. The reason
// does not have the library's message, which quotes values.
func (e *expression) run(m *machine) (any, string) {
	if e.path != nil {
		if v, ok := e.readPath(m); ok {
			return v, ""
		}
	}
	m.meter.left = maxSteps
	v, err := m.vm.Run(e.Program, m.variables)
	switch {
	case err == nil:
		return v, ""
	case errors.Is(err, errSteps):
		return nil, fmt.Sprintf("%s takes more than %d steps for this session", e.source, maxSteps)
	case errors.Is(err, errLate):
		return nil, fmt.Sprintf("%s was not evaluated within %s; is the machine overloaded?", e.source, maxTime)
	case errors.Is(err, errUndecodable):
		return nil, fmt.Sprintf("%s reads a text that %s", e.source, undecodable)
	case errors.Is(err, errNumber):
		return nil, fmt.Sprintf("%s has a number that is not finite, is not whole where it must be, or is too large to be exact", e.source)
	case errors.Is(err, errText):
		return nil, fmt.Sprintf("%s makes a text of more than %d bytes", e.source, maxText)
	}
	column := 0
	var at *file.Error
	if errors.As(err, &at) {
		column = at.Column + 1
		if at.Message == "memory budget exceeded" { // vm.go, memGrow
			return nil, fmt.Sprintf("%s makes lists or maps of more than %d elements", e.source, memoryBudget)
		}
	}
	return nil, fmt.Sprintf("cannot evaluate %s at column %d: a field is absent, or of another type than needed", e.source, column)
}

// readPath returns the value at the path. ok is false if a value on the way is absent or
// is not a map; then the machine must evaluate the expression, and reports the fault.
func (e *expression) readPath(m *machine) (any, bool) {
	v := m.variables[e.path[0]]
	for _, name := range e.path[1:] {
		fields, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		v = fields[name]
	}
	return v, true
}

// pathOf returns the path of an expression such as session.user.id, and nil for any
// other expression.
func pathOf(n ast.Node) []string {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if n.Value == "request" {
			return nil // request is a struct, which readPath does not read
		}
		return []string{n.Value}
	case *ast.MemberNode:
		name, ok := n.Property.(*ast.StringNode)
		if !ok || n.Optional || n.Method {
			return nil
		}
		if path := pathOf(n.Node); path != nil {
			return append(path, name.Value)
		}
	}
	return nil
}

// inspector visits the nodes of an expression, the inner ones first, and collects what
// the expression uses.
type inspector struct {
	found         uses
	wholeRequests int    // uses of request other than a field with a literal name
	wholeHeaders  int    // uses of request.headers other than a header with a literal name that is not secret
	json          bool   // the expression calls toJSON
	fault         string // why the expression is refused; "": it is not
}

// Visit implements ast.Visitor.
func (c *inspector) Visit(n *ast.Node) {
	switch n := (*n).(type) {
	case *ast.IdentifierNode:
		switch n.Value {
		case "$env":
			c.fault = "$env is not known; expected one of session, credential, request, source"
		case "session":
			c.found.session = true
		case "credential":
			c.found.secret = true
		case "request":
			c.found.request = true
			c.wholeRequests++
		}
	case *ast.MemberNode:
		c.member(n)
	case *ast.BuiltinNode:
		if !allowedBuiltins[n.Name] { // the parser accepts disabled functions that take a predicate
			c.fault = "unknown name " + n.Name
		}
		// The cost of trim is the length of the text times the number of these characters.
		if n.Name == "trim" && len(n.Arguments) > 1 && !isLiteral(n.Arguments[1]) {
			c.fault = "the second argument of trim must be a literal string"
		}
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok && name.Value == "toJSON" {
			c.json = true
		}
	case *ast.BinaryNode:
		// A pattern from a session could be of any size, and would be compiled at each evaluation.
		if _, literal := n.Right.(*ast.StringNode); n.Operator == "matches" && !literal {
			c.fault = "the pattern after matches must be a literal string"
		}
	}
}

// member looks at the reading of a field. Its base was visited before, so that whole uses
// that this field makes harmless have been counted.
func (c *inspector) member(n *ast.MemberNode) {
	base, ok := n.Node.(*ast.IdentifierNode)
	name, constant := n.Property.(*ast.StringNode)
	if ok && constant && base.Value == "request" {
		c.wholeRequests--
		switch name.Value {
		case "cookies":
			c.found.secret = true
		case "headers":
			c.wholeHeaders++
			c.found.unverified = true
		case "name", "lang", "mqtt_id":
			c.found.unverified = true
		}
	} else if inner, ok := n.Node.(*ast.MemberNode); ok && constant && isHeaders(inner) && !secretHeaders[name.Value] {
		c.wholeHeaders--
	}
}

func (c *inspector) uses() uses {
	u := c.found
	if c.wholeRequests > 0 { // includes cookies and headers
		u.secret, u.unverified = true, true
	}
	if c.wholeHeaders > 0 {
		u.secret = true
	}
	return u
}

// secretHeaders hold credentials.
var secretHeaders = map[string]bool{"Authorization": true, "Cookie": true, "Proxy-Authorization": true}

func isHeaders(n *ast.MemberNode) bool {
	base, ok := n.Node.(*ast.IdentifierNode)
	name, constant := n.Property.(*ast.StringNode)
	return ok && constant && base.Value == "request" && name.Value == "headers"
}
