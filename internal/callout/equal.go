package callout

import (
	"crypto/sha256"
	"hash"
	"maps"
	"reflect"
	"slices"
	"strings"

	"stamp/internal/conf"
)

// Equal reports whether another configuration means the same, wherever it is in its file.
func (c *Config) Equal(other any) bool {
	o, ok := other.(*Config)
	if !ok || o == nil || c == nil {
		return ok && c == o
	}
	issuer, xkey := c.PublicKeys()
	otherIssuer, otherXKey := o.PublicKeys()
	return issuer == otherIssuer && xkey == otherXKey && c.files == o.files && c.Account == o.Account &&
		reflect.DeepEqual(c.block.Plain(), o.block.Plain())
}

// fileFields are the names of fields that hold the path of a file, in addition to names that end in
// _file.
var fileFields = []string{"file", "ca", "cert", "key", "creds"}

// hashFiles hashes the content of the files that a block names, because it can change while the
// block does not. Fields that name no file are skipped, such as a key of Redis.
func hashFiles(n conf.Node, into hash.Hash) {
	fields := n.Fields()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		item := fields[name]
		path, isText := item.Plain().(string)
		if isText && (slices.Contains(fileFields, name) || strings.HasSuffix(name, "_file")) {
			if content, err := conf.ReadFile(path); err == nil {
				sum := sha256.Sum256(content)
				into.Write(sum[:])
			}
		}
		for _, inner := range item.Items() {
			if inner.Fields() != nil {
				hashFiles(inner, into)
			}
		}
	}
}
