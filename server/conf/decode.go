package conf

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Secret is a string that is not printed.
type Secret string

// String hides the secret from fmt and slog.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[REDACTED]"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

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
	m, ok := n.value.(map[string]any)
	if !ok {
		faults.Add(n, "expected a block; found %s", n.Kind())
		return
	}
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
	for _, k := range sortedKeys(m) {
		if !seen[k] && !isVariable(m[k]) {
			faults.Add(n.child(m[k]), "unknown field %q; expected one of %s", k, strings.Join(fieldNames(v.Type()), ", "))
		}
	}
}

// checkRequired adds a fault if a required field is absent or an empty string.
func (n Node) checkRequired(name string, v reflect.Value, present bool, faults *Faults) {
	switch {
	case !present:
		faults.Add(n, "field %q is missing", name)
	case v.Kind() == reflect.String && v.Len() == 0:
		at := n.Get(name)
		if at.IsZero() {
			at = n.Get(name + "_file")
		}
		faults.Add(at, "field %q is empty", name)
	}
}

// decodeField reads the field name of the block n into dst. It adds the keys that
// it read to seen, and reports whether there were any.
func (n Node) decodeField(name string, dst reflect.Value, seen map[string]bool, faults *Faults) bool {
	m := n.value.(map[string]any)
	present := false
	for k, raw := range m {
		item := n.child(raw)
		switch {
		case strings.EqualFold(k, name):
			item.decodeValue(name, dst, faults)
		case dst.Type() == reflect.TypeFor[Secret]() && strings.EqualFold(k, name+"_file"):
			item.decodeFile(k, dst, faults)
		default:
			continue
		}
		if present {
			faults.Add(item, "duplicate field %q", name)
		}
		seen[k], present = true, true
	}
	return present
}

// Has reports whether the block has the field, or the path of a file with its value.
func (n Node) Has(name string) bool { return !n.Get(name).IsZero() || !n.Get(name+"_file").IsZero() }

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
			wrong("a string")
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
			wrong("a number")
		}
	case reflect.Struct:
		n.Decode(dst.Addr().Interface(), faults)
	case reflect.Pointer:
		p := reflect.New(dst.Type().Elem())
		n.Decode(p.Interface(), faults)
		dst.Set(p)
	default:
		panic(fmt.Sprintf("conf: field %s has type %s", name, dst.Type()))
	}
}

func (n Node) strings(name string, faults *Faults) ([]string, bool) {
	items := n.Items()
	list := make([]string, 0, len(items))
	for _, item := range items {
		s, ok := item.value.(string)
		if !ok {
			faults.Add(item, "%s: expected a string; found %s", name, item.Kind())
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

// addDurationFault adds the fault of a value that is not a duration. If the value may
// be minutes without quotes, such as 15m, which is the number 15000000, it says so.
func (n Node) addDurationFault(name string, faults *Faults) {
	number, ok := n.value.(int64)
	if !ok || number < maxSeconds {
		faults.Add(n, `%s: expected a duration in quotes, such as "5m"; found %s`, name, n.Kind())
		return
	}
	meant := "5m"
	if number%1_000_000 == 0 {
		meant = fmt.Sprintf("%dm", number/1_000_000)
	}
	faults.Add(n, `%s: expected a duration in quotes, such as %q; found the number %d (without quotes, m means million)`, name, meant, number)
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
	case int64, float64:
		return "a number"
	case []any:
		return "an array"
	case map[string]any:
		return "a block"
	case time.Time:
		return "a date"
	}
	return fmt.Sprintf("a %T", n.value)
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

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// fieldNames returns the names of the fields that a struct of type t has.
func fieldNames(t reflect.Type) (names []string) {
	for _, field := range reflect.VisibleFields(t) {
		if name, _, ok := parseTag(field); ok {
			names = append(names, name)
		}
	}
	return names
}
