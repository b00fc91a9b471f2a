package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the user and system time of all threads of a process, ended ones
// included. /proc/PID/stat has the same in ticks of 10 ms; the process' own clock
// counts nanoseconds, up to the call. The id of that clock is documented in
// clock_getcpuclockid(3) and made as the kernel's posix-timers_types.h does it:
// the complement of the pid, and CPUCLOCK_SCHED.
func cpuTime(pid int) (time.Duration, error) {
	const cpuclockSched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &ts); err != nil {
		return 0, fmt.Errorf("cpu clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
