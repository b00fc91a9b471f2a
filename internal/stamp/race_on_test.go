//go:build race

package stamp

// raceEnabled: with the race detector, a sync.Pool drops some of the objects that it is given.
const raceEnabled = true
