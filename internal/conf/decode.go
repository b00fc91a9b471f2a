package conf

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Decode reads the block n into the struct that dst points to. The fields of the
// struct have a tag `conf:"name"`, or `conf:"name,required"`. These types can be
// read:
//
//	string, bool, int, int64   a value of that type
//	time.Duration              "1m30s" in quotes, or a number of seconds below a million
//	[]string                   an array of strings, or one string
//	Secret                     a string, or a field name_file with the path of a file that
//	                           holds the string (newlines at its end are cut off)
//	Node                       any value
//	[]Node                     an array, or one value
//	map[string]Node            a block with any fields
//	struct, *struct            a block; fields of an embedded struct are fields of the outer block
//
// Faults are a field for which dst has no tag, and a required field that is absent
// or an empty string. An absent field leaves dst unchanged, so set defaults before.
func (n Node) Decode(dst any, faults *Faults) {
	if !n.CheckBlock("", faults) {
		return
	}
	m := n.value.(map[string]any)
	v := reflect.ValueOf(dst).Elem()
	seen := make(map[string]bool, len(m))
	for _, field := range reflect.VisibleFields(v.Type()) {
		name, options, ok := parseTag(field)
		if !ok {
			continue
		}
		before := len(faults.list)
		present := n.decodeField(name, v.FieldByIndex(field.Index), seen, faults)
		if slices.Contains(options, "required") && len(faults.list) == before {
			n.checkRequired(name, v.FieldByIndex(field.Index), present, faults)
		}
	}
	for _, k := range n.keysInOrder() {
		if !seen[k] && !isVariable(m[k]) {
			faults.Add(n.child(m[k]), "unknown field %q; %s", k, suggest(k, fieldNames(v.Type())))
		}
	}
}

// CheckBlock adds a fault if n, the field name, is not a block, and reports whether it is one. A caller that
// would go on to report missing fields of n must not do so then.
func (n Node) CheckBlock(name string, faults *Faults) bool {
	if _, ok := n.value.(map[string]any); ok {
		return true
	}
	if name != "" {
		name += ": "
	}
	faults.Add(n, "%sexpected a block; found %s", name, n.Kind())
	return false
}

// AddUnlisted adds a fault for each field of the block n that is not listed, without
// regard to case. format gets the field's name. Definitions of variables that are
// used are no fields.
func (n Node) AddUnlisted(listed []string, faults *Faults, format string) {
	m, _ := n.value.(map[string]any)
	for _, k := range n.keysInOrder() {
		isListed := slices.ContainsFunc(listed, func(name string) bool { return strings.EqualFold(name, k) })
		if !isListed && !isVariable(m[k]) {
			faults.Add(n.child(m[k]), format, k)
		}
	}
}

// checkRequired adds a fault if a required field is absent or an empty string.
func (n Node) checkRequired(name string, v reflect.Value, present bool, faults *Faults) {
	switch {
	case !present:
		faults.Add(n, "field %q is missing", name)
	case v.Kind() == reflect.String && v.Len() == 0:
		written, at := n.Written(name)
		faults.Add(at, "field %q is empty", written)
	}
}

// Written returns the name and the value of the field in which the secret is written:
// name itself, or name_file.
func (n Node) Written(name string) (string, Node) {
	if at := n.Get(name); !at.IsZero() {
		return name, at
	}
	if at := n.Get(name + "_file"); !at.IsZero() {
		return name + "_file", at
	}
	return name, Node{}
}

// decodeField reads the field name of the block n into dst. It adds the keys that
// it read to seen, and reports whether there were any.
func (n Node) decodeField(name string, dst reflect.Value, seen map[string]bool, faults *Faults) bool {
	m := n.value.(map[string]any)
	var first Node
	present := false
	for _, k := range n.keysInOrder() {
		item := n.child(m[k])
		switch {
		case strings.EqualFold(k, name):
			item.decodeValue(name, dst, faults)
		case dst.Type() == reflect.TypeFor[Secret]() && strings.EqualFold(k, name+"_file"):
			item.decodeFile(k, dst, faults)
		default:
			continue
		}
		if present {
			faults.Add(item, "duplicate field %q: it is set at %s already", name, first.place)
		} else {
			first = item
		}
		seen[k], present = true, true
	}
	return present
}

// Has reports whether the block has the field, or the path of a file with its value.
func (n Node) Has(name string) bool {
	_, at := n.Written(name)
	return !at.IsZero()
}

// decodeFile reads a secret from the file whose path is n.
func (n Node) decodeFile(name string, dst reflect.Value, faults *Faults) {
	path, ok := n.value.(string)
	if !ok {
		faults.Add(n, "%s: expected a path; found %s", name, n.Kind())
		return
	}
	text, err := ReadFile(path)
	if err != nil {
		faults.Add(n, "%s: %v", name, err)
		return
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		faults.Add(n, "%s: expected a secret in the file %s; the file is empty", name, path)
	}
	dst.SetString(secret)
}

func (n Node) decodeValue(name string, dst reflect.Value, faults *Faults) {
	wrong := func(want string) { faults.Add(n, "%s: expected %s; found %s", name, want, n.Kind()) }
	switch dst.Interface().(type) {
	case Node:
		dst.Set(reflect.ValueOf(n))
		return
	case []Node:
		dst.Set(reflect.ValueOf(n.Items()))
		return
	case map[string]Node:
		fields := n.Fields()
		if fields == nil {
			wrong("a block")
			return
		}
		dst.Set(reflect.ValueOf(fields))
		return
	case []string:
		if list, ok := n.strings(name, faults); ok {
			dst.Set(reflect.ValueOf(list))
		}
		return
	case time.Duration:
		if d, ok := n.duration(); ok {
			dst.SetInt(int64(d))
		} else {
			n.addDurationFault(name, faults)
		}
		return
	}
	switch dst.Kind() {
	case reflect.String:
		if s, ok := n.value.(string); ok {
			dst.SetString(s)
		} else {
			n.addStringFault(name, faults)
		}
	case reflect.Bool:
		if b, ok := n.value.(bool); ok {
			dst.SetBool(b)
		} else {
			wrong("true or false")
		}
	case reflect.Int, reflect.Int64:
		if i, ok := n.value.(int64); ok {
			dst.SetInt(i)
		} else {
			wrong("a whole number")
		}
	case reflect.Struct:
		n.decodeBlock(name, dst.Addr(), faults)
	case reflect.Pointer:
		p := reflect.New(dst.Type().Elem())
		n.decodeBlock(name, p, faults)
		dst.Set(p)
	default:
		panic(fmt.Sprintf("conf: field %s has type %s", name, dst.Type()))
	}
}

// decodeBlock reads the block n, the field name, into the struct that p points to. The faults of its fields
// begin with name, since two blocks may have fields of the same name.
func (n Node) decodeBlock(name string, p reflect.Value, faults *Faults) {
	if !n.CheckBlock(name, faults) {
		return
	}
	before := len(faults.list)
	n.Decode(p.Interface(), faults)
	for _, fault := range faults.list[before:] {
		fault.Text = name + ": " + fault.Text
	}
}

func (n Node) strings(name string, faults *Faults) ([]string, bool) {
	items := n.Items()
	list := make([]string, 0, len(items))
	for _, item := range items {
		s, ok := item.value.(string)
		if !ok {
			item.addStringFault(name, faults)
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

// maxSeconds bounds a duration that is a number of seconds. To the parser, 1m without
// quotes is the number 1000000. Such a number must be refused: read as seconds, it
// would be eleven days.
const maxSeconds = 1_000_000

// duration returns the duration n, and false if n is not a duration.
func (n Node) duration() (time.Duration, bool) {
	switch v := n.value.(type) {
	case int64:
		return time.Duration(v) * time.Second, v >= 0 && v < maxSeconds
	case float64:
		return time.Duration(v * float64(time.Second)), v >= 0 && v < maxSeconds
	case string:
		d, err := time.ParseDuration(v)
		return d, err == nil && d >= 0
	}
	return 0, false
}

// addDurationFault adds the fault of a value that is not a duration.
func (n Node) addDurationFault(name string, faults *Faults) {
	switch v := n.value.(type) {
	case string:
		found := "a string without them"
		if d, err := time.ParseDuration(v); err == nil && d < 0 {
			found = "a negative duration"
		}
		faults.Add(n, `%s: expected a duration with the units ms, s, m or h, such as "5m" or "1h30m"; found %s`, name, found)
	case int64:
		n.addNumberFault(name, v, faults)
	case float64:
		faults.Add(n, `%s: expected a duration in quotes, such as "5m"; found the number %v`, name, v)
	default:
		faults.Add(n, `%s: expected a duration in quotes, such as "5m"; found %s`, name, n.Kind())
	}
}

// addNumberFault adds the fault of a number that is not a duration. If it may be
// minutes without quotes, such as 15m, which is the number 15000000, it says so.
func (n Node) addNumberFault(name string, number int64, faults *Faults) {
	if number < maxSeconds {
		faults.Add(n, `%s: expected a duration in quotes, such as "5m"; found the number %d`, name, number)
		return
	}
	meant := "5m"
	if number%1_000_000 == 0 {
		meant = fmt.Sprintf("%dm", number/1_000_000)
	}
	faults.Add(n, `%s: expected a duration in quotes, such as %q; found the number %d (without quotes, m means million)`, name, meant, number)
}

// addStringFault adds the fault of a value that is not a string. To the parser, 12345 without quotes is a
// number.
func (n Node) addStringFault(name string, faults *Faults) {
	hint := ""
	switch n.value.(type) {
	case bool, int64, float64, time.Time:
		hint = " (hint: put it in quotes)"
	}
	faults.Add(n, "%s: expected a string; found %s%s", name, n.Kind(), hint)
}

// Kind names the type of n for an error. It does not give the value, which may be a
// secret.
func (n Node) Kind() string {
	switch n.value.(type) {
	case nil:
		return "nothing"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int64:
		return "a number"
	case float64:
		return "a number with a fraction"
	case []any:
		return "an array"
	case map[string]any:
		return "a block"
	case time.Time:
		return "a date"
	}
	return fmt.Sprintf("a %T", n.value)
}

// NumberOrKind says what n is in an error: a number is shown itself, and of others the type.
func (n Node) NumberOrKind() string {
	if i, ok := n.value.(int64); ok {
		return fmt.Sprint(i)
	}
	return n.Kind()
}

// isVariable reports whether a field is the definition of a variable that is used.
// NATS configuration allows definitions among the fields of a block.
func isVariable(v any) bool {
	t, ok := v.(interface{ IsUsedVariable() bool })
	return ok && t.IsUsedVariable()
}

// parseTag returns the name and the options in the tag conf. ok is false if there
// is no such tag.
func parseTag(f reflect.StructField) (name string, options []string, ok bool) {
	text, ok := f.Tag.Lookup("conf")
	parts := strings.Split(text, ",")
	return parts[0], parts[1:], ok
}

// AddRepeated adds a fault for n, and for each field below it, that is set twice in one
// block in the same spelling. The parser keeps the last one, so whatever the first one
// protects would be open. A variable may be defined anew.
func (n Node) AddRepeated(name string, faults *Faults) {
	if n.before != nil {
		faults.Add(n, "duplicate field %q: it is set at %s already", name, NodeOf(n.before).place)
	}
	switch v := n.value.(type) {
	case map[string]any:
		for _, k := range n.keysInOrder() {
			n.child(v[k]).AddRepeated(k, faults)
		}
	case []any:
		for _, item := range n.Items() {
			item.AddRepeated(name, faults)
		}
	}
}

// AddVariables adds a fault for each field of the block n that is used as a variable. It is for
// blocks whose fields can have any name, where a definition cannot be told from a field.
func (n Node) AddVariables(name string, faults *Faults) {
	m, _ := n.value.(map[string]any)
	for _, k := range n.keysInOrder() {
		if isVariable(m[k]) {
			faults.Add(n.child(m[k]), "%s: %q is used as a variable, and would be one of the fields too; define the variable outside of this block", name, k)
		}
	}
}

// keysInOrder returns the names of the fields of the block n in the order of the file,
// so that faults are the same whenever a file is read.
func (n Node) keysInOrder() []string {
	m, _ := n.value.(map[string]any)
	keys := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(keys, func(a, b string) int { return n.child(m[a]).place.compare(n.child(m[b]).place) })
	return keys
}

// fieldNames returns the names of the fields that a struct of type t has.
func fieldNames(t reflect.Type) (names []string) {
	for _, field := range reflect.VisibleFields(t) {
		name, _, ok := parseTag(field)
		if !ok {
			continue
		}
		names = append(names, name)
		if field.Type == reflect.TypeFor[Secret]() {
			names = append(names, name+"_file")
		}
	}
	return names
}
