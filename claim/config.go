package claim

import (
	"maps"
	"slices"
)

// FromConfig returns the claim of a user in the configuration file. headers and
// permissions are the values of its fields headers and header_permissions, as
// conf.Node.Plain returns them; either may be nil. The configuration does not keep
// the order of fields, so the headers are sorted by name.
func FromConfig(headers, permissions any, l Limits) (*Claim, error) {
	b := builder{quoteHint: true}
	return b.build(configNode(headers), configNode(permissions), l)
}

func configNode(v any) *node {
	if v == nil {
		return nil
	}
	n := toNode(v, maxDepth)
	return &n
}

func toNode(v any, depth int) node {
	switch v := v.(type) {
	case nil:
		return node{kind: kindNull}
	case string:
		return node{kind: kindString, text: v}
	case bool:
		return node{kind: kindBool}
	case int, int64, float64:
		return node{kind: kindNumber}
	case []any:
		n := node{kind: kindList}
		for _, it := range v[:len(v)*min(depth, 1)] {
			n.members = append(n.members, member{node: toNode(it, depth-1)})
		}
		return n
	case map[string]any:
		n := node{kind: kindObject}
		if depth == 0 {
			return n
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.members = append(n.members, member{k, toNode(v[k], depth-1)})
		}
		return n
	}
	return node{kind: kindOther}
}
