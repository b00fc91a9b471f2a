package stamp

// automaton finds names and prefixes of names anywhere in a text in one pass (Aho and
// Corasick, Efficient string matching, 1975). The work is linear in the length of the
// text, whatever it holds and however many names there are.
type automaton struct {
	states []state
}

// state stands for the beginning of an entry: the text that has been read ends with it.
type state struct {
	next         map[byte]int32 // the state after one more byte of the entry
	fail         int32          // the state of the longest shorter text that this one ends with
	endsInPrefix bool           // the text ends with a hidden prefix
	endsInName   bool           // the text ends with a hidden name
}

// newAutomaton returns the automaton for the entries of a set. It ignores the set's
// exceptions.
func newAutomaton(set *NameSet) *automaton {
	a := &automaton{states: make([]state, 1)}
	for _, e := range set.names.entries {
		a.states[a.add(e)].endsInName = true
	}
	for _, e := range set.prefixes.entries {
		a.states[a.add(e)].endsInPrefix = true
	}
	a.link()
	return a
}

// add adds the states of an entry and returns the last one.
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

// link sets fail of each state, for shorter texts first.
func (a *automaton) link() {
	queue := []int32{0}
	for ; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for c, next := range a.states[at].next {
			s := &a.states[next]
			if at != 0 {
				s.fail = a.follow(a.states[at].fail, c, nil)
			}
			s.endsInPrefix = s.endsInPrefix || a.states[s.fail].endsInPrefix
			s.endsInName = s.endsInName || a.states[s.fail].endsInName
			queue = append(queue, next)
		}
	}
}

// follow returns the state after c, and adds to visited how many states it looked at.
// visited may be nil.
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

// step returns the state after c. It falls back at most as often as earlier steps
// went ahead, so it visits at most two states for each byte of a text on average.
func (x *search) step(at int32, c byte) int32 { return x.follow(at, c, &x.visited) }
