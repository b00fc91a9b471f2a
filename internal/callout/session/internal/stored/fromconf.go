package stored

import (
	"time"

	"stamp/internal/conf"
)

// FromConf returns the fields of a configuration block with the types that
// encoding/json decodes. It leaves out the fields for which skip, if not nil, returns
// true. For an absent block the result is empty.
func FromConf(n conf.Node, skip func(name string) bool) map[string]any {
	data := map[string]any{}
	for name, field := range n.Fields() {
		if skip == nil || !skip(name) {
			data[name] = asJSON(field.Plain())
		}
	}
	return data
}

func asJSON(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case time.Time:
		return v.Format(time.RFC3339)
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = asJSON(v[name])
		}
	}
	return v
}
