package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// kind is the kind of a declaration.
type kind int

const (
	function kind = iota // a function or a method
	typ
	value // a constant or a variable
)

// key names a declaration of a package: F, T.M for a method, T, V.
type key struct {
	kind kind
	name string
}

// decl is a declaration of a package. If several files declare the same name, for different systems, it holds all of these
// declarations.
type decl struct {
	file   string // relative to the tree; the first one, if there are several
	source string // the text in the file
	plain  string // without comments; if it differs between two versions, the code changed
}

// index returns the declarations of a package in the files for all systems, without tests.
func index(tree, dir string) (map[key]decl, error) {
	names, err := sources(tree, dir)
	if err != nil {
		return nil, err
	}
	all := map[key]decl{}
	for _, name := range names {
		if err := indexFile(all, tree, name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// sources returns the sorted names of the Go files of a package, without tests. There may be none.
func sources(tree, dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(tree, dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range found {
		if !strings.HasSuffix(path, "_test.go") {
			names = append(names, filepath.ToSlash(filepath.Join(dir, filepath.Base(path))))
		}
	}
	return names, nil
}

func indexFile(all map[key]decl, tree, name string) error {
	src, err := os.ReadFile(filepath.Join(tree, name))
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution) // this mode drops comments
	if err != nil {
		return err
	}
	eachDecl(file, func(k key, node ast.Node, extra string) {
		d := decl{file: name, source: string(src[fset.Position(node.Pos()).Offset:fset.Position(node.End()).Offset]) + extra + "\n"}
		var plain bytes.Buffer
		if err = printer.Fprint(&plain, fset, node); err != nil {
			return
		}
		d.plain = plain.String() + extra
		if before, ok := all[k]; ok {
			d = decl{before.file, before.source + d.source, before.plain + d.plain}
		}
		all[k] = d
	})
	return err
}

// eachDecl calls f for each declaration of a file. A constant without an expression repeats the one above it, so its value
// depends on its place in the list. For such a constant, extra is a text that names the place; otherwise it is empty.
func eachDecl(file *ast.File, f func(k key, node ast.Node, extra string)) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			f(key{function, funcName(d)}, d, "")
		case *ast.GenDecl:
			repeated := ""
			for i, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					f(key{typ, spec.Name.Name}, spec, "")
				case *ast.ValueSpec:
					if spec.Values != nil {
						repeated = spec.Names[0].Name
					}
					extra := ""
					if d.Tok == token.CONST && spec.Values == nil {
						extra = fmt.Sprintf(" // like %s, number %d", repeated, i)
					}
					for _, name := range spec.Names {
						f(key{value, name.Name}, spec, extra)
					}
				}
			}
		}
	}
}

// funcName returns F for a function, and T.M for a method of T or *T.
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return d.Name.Name
	}
	return receiver(d.Recv.List[0].Type) + "." + d.Name.Name
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.ParenExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
