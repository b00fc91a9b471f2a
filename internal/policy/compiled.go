package policy

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"stamp/internal/proof"
	"stamp/internal/stamp"
)

// compiled are the sets of names that Rules result in.
type compiled struct {
	protected  *stamp.NameSet // protected names that connections of any account may have permission for
	boundNames []boundName    // protected names that are bound to accounts
	serverOnly *stamp.NameSet // names of headers.all, for which no client can have permission
	provenance *stamp.NameSet // names of provenance, for which only a leafnode can have permission
	stripped   *stamp.NameSet // these and that of proofs
	sealed     *stamp.NameSet

	mu sync.Mutex
	// exceptions holds sets without the names for which a connection has permission.
	// Connections with equal permissions share one set, and so one stamp.
	exceptions map[string]*stamp.NameSet
}

type boundName struct {
	set      *stamp.NameSet
	accounts []string
}

// maxExceptions is how many sets compiled.exceptions holds. Above it, all are dropped.
const maxExceptions = 4096

// compile returns the sets of r. Its patterns have been checked.
func (r *Rules) compile() *compiled {
	c := &compiled{sealed: mustRuleSet(r.Sealed), exceptions: map[string]*stamp.NameSet{}}
	var protected, serverOnly []string
	for _, p := range r.Protected {
		if len(p.Accounts) == 0 {
			protected = append(protected, p.Name)
		} else {
			c.boundNames = append(c.boundNames, boundName{mustRuleSet([]string{p.Name}), p.Accounts})
		}
	}
	if r.All != nil {
		for _, h := range r.All.Headers {
			serverOnly = append(serverOnly, h.Name)
		}
	}
	if r.Provenance {
		c.stripped = mustRuleSet(append(stamp.ProvenanceNames(), proof.Name))
		if c.provenance = c.stripped; r.Proof == nil {
			// Without proofs here, nobody need have permission for them.
			c.provenance = mustRuleSet(stamp.ProvenanceNames())
		}
	}
	c.protected, c.serverOnly = mustRuleSet(protected), mustRuleSet(serverOnly)
	return c
}

// without returns set without the names that match permitted. kind tells apart the
// sets of c: for equal kind and permitted, the result is the same set.
func (c *compiled) without(kind string, set *stamp.NameSet, permitted []string) *stamp.NameSet {
	if set.Empty() || len(permitted) == 0 {
		return set
	}
	sorted := slices.Sorted(slices.Values(permitted))
	key := kind + "\x00" + strings.Join(sorted, "\x00")
	c.mu.Lock()
	defer c.mu.Unlock()
	if cached, ok := c.exceptions[key]; ok {
		return cached
	}
	if len(c.exceptions) >= maxExceptions {
		clear(c.exceptions)
	}
	next := set.Without(mustNameSet(permitted))
	c.exceptions[key] = next
	return next
}

// mustNameSet returns the set of patterns that have been checked, nil for none.
func mustNameSet(patterns []string) *stamp.NameSet { return mustSet(stamp.NewNameSet, patterns) }

// mustRuleSet is mustNameSet for names that are removed from messages.
func mustRuleSet(patterns []string) *stamp.NameSet { return mustSet(stamp.NewRuleSet, patterns) }

func mustSet(make func(patterns ...string) (*stamp.NameSet, error), patterns []string) *stamp.NameSet {
	if len(patterns) == 0 {
		return nil
	}
	set, err := make(patterns...)
	if err != nil {
		panic(fmt.Sprintf("policy: %v", err))
	}
	return set
}
