package stamp

// automaton finds names and beginnings of names in a text, wherever in it they begin, in one pass (Aho and
// Corasick, Efficient string matching, 1975): the work is linear in the text, whatever it holds and however
// many names there are.
type automaton struct {
	states []state
}

// state stands for a text that an entry begins with.
type state struct {
	next   map[byte]int32 // by the byte that follows
	fail   int32          // of the longest end of the text that an entry begins with too
	begins bool           // the text ends with a beginning of hidden names
	ends   bool           // the text ends with a hidden name
}

// newAutomaton takes the entries of a set, not its exceptions.
func newAutomaton(set *NameSet) *automaton {
	a := &automaton{states: make([]state, 1)}
	for _, e := range set.names.entries {
		a.states[a.add(e)].ends = true
	}
	for _, e := range set.prefixes.entries {
		a.states[a.add(e)].begins = true
	}
	a.link()
	return a
}

// add returns the state of an entry.
func (a *automaton) add(entry string) int32 {
	at := int32(0)
	for i := range len(entry) {
		next, ok := a.states[at].next[entry[i]]
		if !ok {
			next = int32(len(a.states))
			a.states = append(a.states, state{})
			if a.states[at].next == nil {
				a.states[at].next = map[byte]int32{}
			}
			a.states[at].next[entry[i]] = next
		}
		at = next
	}
	return at
}

// link sets where each state falls back to, shorter texts first.
func (a *automaton) link() {
	queue := []int32{0}
	for ; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for c, next := range a.states[at].next {
			s := &a.states[next]
			if at != 0 {
				s.fail = a.follow(a.states[at].fail, c, nil)
			}
			s.begins = s.begins || a.states[s.fail].begins
			s.ends = s.ends || a.states[s.fail].ends
			queue = append(queue, next)
		}
	}
}

// follow returns the state behind c, and counts the states that it looks at.
func (a *automaton) follow(at int32, c byte, visited *int) int32 {
	for {
		if visited != nil {
			*visited++
		}
		if next, ok := a.states[at].next[c]; ok {
			return next
		}
		if at == 0 {
			return 0
		}
		at = a.states[at].fail
	}
}

// step returns the state behind c. Each step back was made possible by a step ahead, so that there are at
// most two for each byte of a text.
func (x *search) step(at int32, c byte) int32 { return x.follow(at, c, &x.visited) }
