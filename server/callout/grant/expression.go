package grant

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// expression is a condition, or what stands between {{ and }}.
type expression struct {
	source string
	path   []string // of a variable, and fields below it: read without the machine. nil: program
	node   ast.Node
	*vm.Program
	uses
}

// uses tells what an expression is made of.
type uses struct {
	session bool
	request bool
	secret  bool // the credential, or cookies
	claimed bool // what a client says of itself, and nobody has verified
}

// maxNodes is how long an expression may be.
const maxNodes = 1000

// compile reads an expression. The error tells where in it the fault is.
func compile(source string) (*expression, error) {
	source = strings.TrimSpace(source)
	if source == "" {
		return nil, errors.New("expression is empty")
	}
	program, err := expr.Compile(source, options...)
	if err != nil {
		return nil, compileError(err)
	}
	e := &expression{source: source, Program: program, node: program.Node()}
	c := &inspector{}
	ast.Walk(&e.node, c)
	if c.fault != "" {
		return nil, errors.New(c.fault)
	}
	e.uses = c.uses()
	e.path = pathOf(e.node)
	// Once more, for faults are found and told in the expression as it was written.
	if e.Program, err = expr.Compile(source, append(slices.Clip(options), strictly(c.json), metered())...); err != nil {
		return nil, compileError(err)
	}
	return e, nil
}

// condition compiles an expression that is true or false.
func condition(source string) (*expression, error) {
	e, err := compile(source)
	if err != nil {
		return nil, err
	}
	switch t := e.node.Type(); {
	case t == nil, t.Kind() == reflect.Interface, t.Kind() == reflect.Bool:
		return e, nil
	default:
		return nil, fmt.Errorf("is not a condition: its value is of type %s, not true or false", t)
	}
}

func compileError(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	text, _, _ := strings.Cut(at.Message, "\n")
	text = strings.NewReplacer("grant.requestVariables", "request", "*", "").Replace(text)
	if strings.HasPrefix(text, "unknown name") {
		text += "; expected one of session, credential, request, source"
	}
	return fmt.Errorf("%s (column %d)", text, at.Column+1)
}

// run returns the value, or why there is none. What the library says is not passed on:
// its messages quote values.
func (e *expression) run(m *machine) (any, string) {
	if e.path != nil {
		if v, ok := e.walk(m); ok {
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
		return nil, fmt.Sprintf("%s was not evaluated in %s; is the machine overloaded?", e.source, maxTime)
	case errors.Is(err, errUndecodable):
		return nil, fmt.Sprintf("%s reads a text that %s", e.source, undecodable)
	case errors.Is(err, errNumber):
		return nil, fmt.Sprintf("%s has a number that is not finite, not whole where it must be, or too large to be exact", e.source)
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

// walk reads the path. It is not ok where something on the way is no map, or is
// absent: the machine then tells what is wrong.
func (e *expression) walk(m *machine) (any, bool) {
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

// pathOf returns the path that an expression such as session.user.id is; nil for
// any other.
func pathOf(n ast.Node) []string {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if n.Value == "request" {
			return nil // a struct
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

// inspector looks at the nodes of an expression, the inner ones first.
type inspector struct {
	found   uses
	whole   int // uses of request as a whole
	headers int // uses of request.headers as a whole
	json    bool
	fault   string
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
			c.whole++
		}
	case *ast.MemberNode:
		c.member(n)
	case *ast.BuiltinNode:
		if !known[n.Name] { // those that take a predicate are parsed although they are disabled
			c.fault = "unknown name " + n.Name
		}
		// Each character of a text is looked for in all of these.
		if n.Name == "trim" && len(n.Arguments) > 1 && !constant(n.Arguments[1]) {
			c.fault = "the characters that trim takes off must be written out"
		}
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok && name.Value == "toJSON" {
			c.json = true
		}
	case *ast.BinaryNode:
		// A pattern out of a session would be compiled anew each time, and may be of any size.
		if _, constant := n.Right.(*ast.StringNode); n.Operator == "matches" && !constant {
			c.fault = "the pattern after matches must be written out"
		}
	}
}

func (c *inspector) member(n *ast.MemberNode) {
	base, ok := n.Node.(*ast.IdentifierNode)
	name, constant := n.Property.(*ast.StringNode)
	if ok && constant && base.Value == "request" {
		c.whole--
		switch name.Value {
		case "cookies":
			c.found.secret = true
		case "headers":
			c.headers++
			c.found.claimed = true
		case "name", "lang", "mqtt_id":
			c.found.claimed = true
		}
	} else if inner, ok := n.Node.(*ast.MemberNode); ok && constant && isHeaders(inner) && !secretHeaders[name.Value] {
		c.headers--
	}
}

func (c *inspector) uses() uses {
	u := c.found
	if c.whole > 0 { // with its cookies
		u.secret, u.claimed = true, true
	}
	if c.headers > 0 {
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
