package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errCounters = errors.New("counters in a format that is not known")

// sum adds up the counters that the runtime has written (go, internal/coverage/defs.go: a header, then segments of
// functions, of which there is one).
func sum(file []byte) (uint64, error) {
	const header, segment, version, varints = 32, 16, 1, 2
	le := binary.LittleEndian
	if len(file) < header+segment || string(file[:4]) != "\x00cwm" || le.Uint32(file[4:]) != version || file[24] != varints {
		return 0, errCounters
	}
	functions := le.Uint64(file[header:])
	at := header + segment + int(le.Uint32(file[header+8:])) + int(le.Uint32(file[header+12:]))
	at = (at + 3) &^ 3
	next := func() uint64 {
		v, n := binary.Uvarint(file[at:])
		at += max(n, 1)
		return v
	}
	var total uint64
	for range functions {
		counters := next()
		next() // the package
		next() // the function
		for range counters {
			if at >= len(file) {
				return 0, fmt.Errorf("%w: they end early", errCounters)
			}
			total += next()
		}
	}
	return total, nil
}
