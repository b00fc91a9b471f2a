package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// uses are the declarations in one package of the patched tree that our patches depend on. The values of used are places, those
// of held are files, and those of below are names of functions.
type uses struct {
	used  map[key]string // used in our new files
	held  map[key]string // declarations of upstream that have a line of ours
	below map[key]string // functions that the used functions call
}

// checker resolves the names of a package.
type checker struct {
	ours   *ours
	tree   string
	fset   *token.FileSet
	files  map[string]*ast.File // by name, relative to the tree
	info   *types.Info
	pkg    *types.Package
	fields map[types.Object]string // the type in which a field or an interface's method is declared
	named  map[string][]key        // declarations by the last part of their name, for names whose type is not known
}

// collect finds the uses in a package. It treats imported packages without export data as empty. If the type of an expression is
// not known for that reason, a field or method of it counts as a use of all fields and methods with that name.
func collect(tree, dir string, o *ours, exports map[string]string) (*uses, error) {
	c := &checker{ours: o, tree: tree, fset: token.NewFileSet(), files: map[string]*ast.File{}}
	if err := c.parse(dir); err != nil {
		return nil, err
	}
	c.check(dir, exports)
	u := &uses{used: map[key]string{}, held: map[key]string{}, below: map[key]string{}}
	for name, file := range c.files {
		if o.added[name] {
			c.namesIn(file, func(k key, at string) { keepFirst(u.used, k, at) })
			continue
		}
		eachDecl(file, func(k key, node ast.Node, _ string) {
			first, last := c.fset.Position(node.Pos()).Line, c.fset.Position(node.End()).Line
			if o.within(name, first, last) {
				u.held[k] = name
			}
		})
	}
	c.belowUsed(u)
	return u, nil
}

// keepFirst keeps the place that sorts first, so that the report does not depend on the order of maps.
func keepFirst(m map[key]string, k key, at string) {
	if before, ok := m[k]; !ok || isBefore(at, before) {
		m[k] = at
	}
}

// isBefore compares places of the form FILE:LINE, or names.
func isBefore(a, b string) bool {
	fileA, lineA, _ := strings.Cut(a, ":")
	fileB, lineB, _ := strings.Cut(b, ":")
	return cmp.Or(strings.Compare(fileA, fileB), cmp.Compare(len(lineA), len(lineB)), strings.Compare(lineA, lineB)) < 0
}

// parse reads the files of the package that are compiled on this system.
func (c *checker) parse(dir string) error {
	names, err := sources(c.tree, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		full := filepath.Join(c.tree, name)
		if ok, err := build.Default.MatchFile(filepath.Split(full)); err != nil || !ok {
			continue
		}
		file, err := parser.ParseFile(c.fset, full, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		c.files[name] = file
	}
	return nil
}

func (c *checker) check(dir string, exports map[string]string) {
	c.info = &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: newImporter(c.fset, exports), FakeImportC: true, Error: func(error) {}}
	var files []*ast.File
	for _, file := range c.files {
		files = append(files, file)
	}
	c.pkg, _ = config.Check(dir, c.fset, files, c.info) // names that cannot be resolved are looked up in c.named
	c.fields, c.named = map[types.Object]string{}, map[string][]key{}
	for _, file := range c.files {
		eachDecl(file, func(k key, node ast.Node, _ string) {
			c.named[lastPart(k.name)] = append(c.named[lastPart(k.name)], k)
			if spec, ok := node.(*ast.TypeSpec); ok {
				c.typeFields(spec)
			}
		})
	}
}

func lastPart(name string) string {
	if ext := path.Ext(name); ext != "" {
		return ext[1:]
	}
	return name
}

// typeFields records the fields of a struct type, also of structs in it, and the methods of an interface type.
func (c *checker) typeFields(spec *ast.TypeSpec) {
	ast.Inspect(spec.Type, func(n ast.Node) bool {
		if field, ok := n.(*ast.Field); ok {
			for _, name := range field.Names {
				c.fields[c.info.Defs[name]] = spec.Name.Name
				c.named[name.Name] = append(c.named[name.Name], key{typ, spec.Name.Name})
			}
			if len(field.Names) == 0 { // embedded
				if name := receiver(field.Type); c.pkg != nil {
					c.embedded(spec.Name.Name, name)
				}
			}
		}
		return true
	})
}

func (c *checker) embedded(owner, name string) {
	object, ok := c.pkg.Scope().Lookup(owner).(*types.TypeName)
	if !ok {
		return
	}
	if s, ok := object.Type().Underlying().(*types.Struct); ok {
		for i := range s.NumFields() {
			if f := s.Field(i); f.Embedded() && f.Name() == name {
				c.fields[f] = owner
			}
		}
	}
}

// namesIn calls f for each name in the node that refers to a declaration of upstream in this package.
func (c *checker) namesIn(node ast.Node, f func(k key, at string)) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if c.info.Uses[n.Sel] == nil && c.info.Defs[n.Sel] == nil {
				for _, k := range c.named[n.Sel.Name] {
					f(k, c.place(n.Sel.Pos()))
				}
			}
		case *ast.Ident:
			if k, ok := c.resolve(c.info.Uses[n]); ok {
				f(k, c.place(n.Pos()))
			}
		}
		return true
	})
}

// resolve returns the declaration of an object, if it is one of upstream in this package.
func (c *checker) resolve(object types.Object) (key, bool) {
	if object == nil || object.Pkg() != c.pkg || c.isOurs(object.Pos()) {
		return key{}, false
	}
	switch o := object.(type) {
	case *types.Func:
		if owner, ok := c.fields[o.Origin()]; ok { // a method of an interface
			return key{typ, owner}, true
		}
		recv := o.Origin().Signature().Recv()
		if recv == nil {
			return key{function, o.Name()}, true
		}
		return key{function, typeName(recv.Type()) + "." + o.Name()}, true
	case *types.Var:
		if owner, ok := c.fields[o.Origin()]; ok {
			return key{typ, owner}, true
		}
		return key{value, o.Name()}, o.Parent() == c.pkg.Scope()
	case *types.Const:
		return key{value, o.Name()}, o.Parent() == c.pkg.Scope()
	case *types.TypeName:
		return key{typ, o.Name()}, o.Parent() == c.pkg.Scope()
	}
	return key{}, false
}

func typeName(t types.Type) string {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name()
	}
	return "?"
}

func (c *checker) isOurs(pos token.Pos) bool {
	name, line := c.position(pos)
	return c.ours.has(name, line)
}

func (c *checker) place(pos token.Pos) string {
	name, line := c.position(pos)
	return fmt.Sprintf("%s:%d", name, line)
}

// position returns the name of the file, relative to the tree, and the line.
func (c *checker) position(pos token.Pos) (string, int) {
	p := c.fset.Position(pos)
	name, err := filepath.Rel(c.tree, p.Filename)
	if err != nil {
		name = p.Filename
	}
	return filepath.ToSlash(name), p.Line
}

// belowUsed finds the functions that the used functions call and that our new files do not use themselves.
func (c *checker) belowUsed(u *uses) {
	for _, file := range c.files {
		eachDecl(file, func(k key, node ast.Node, _ string) {
			if _, ok := u.used[k]; !ok || k.kind != function {
				return
			}
			c.namesIn(node, func(below key, at string) {
				if _, ok := u.used[below]; !ok && below.kind == function {
					keepFirst(u.below, below, k.name)
				}
			})
		})
	}
}

// exportImporter imports packages from export data. A package without export data is imported as an empty one.
type exportImporter struct{ types.Importer }

func newImporter(fset *token.FileSet, exports map[string]string) types.Importer {
	return exportImporter{importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if file, ok := exports[path]; ok {
			return os.Open(file)
		}
		return nil, fmt.Errorf("no export data of %s", path)
	})}
}

func (i exportImporter) Import(name string) (*types.Package, error) {
	if p, err := i.Importer.Import(name); err == nil {
		return p, nil
	}
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}
