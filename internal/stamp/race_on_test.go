//go:build race

package stamp

// raceEnabled: a sync.Pool drops some of what it gets when races are looked for.
const raceEnabled = true
