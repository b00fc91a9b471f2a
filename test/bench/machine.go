package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// machine is what a reader must know of the computer, without its name.
type machine struct{ text string }

func thisMachine() machine {
	var parts []string
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		parts = append(parts, fmt.Sprintf("%d CPUs, %s", runtime.NumCPU(), model))
	} else {
		parts = append(parts, fmt.Sprintf("%d CPUs", runtime.NumCPU()))
	}
	if kb, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		parts = append(parts, fmt.Sprintf("%d GB of memory", (kb+1<<19)>>20))
	}
	parts = append(parts, runtime.GOOS+"/"+runtime.GOARCH, runtime.Version())
	if field("/proc/cpuinfo", "flags") != "" && strings.Contains(field("/proc/cpuinfo", "flags"), "hypervisor") {
		parts = append(parts, "a virtual machine")
	}
	return machine{strings.Join(parts, "; ")}
}

// field is the value of the first line "name : value", or nothing.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return "" // not this system's
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
