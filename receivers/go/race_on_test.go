//go:build race

package stamp_test

// raceEnabled: the race detector allocates too.
const raceEnabled = true
