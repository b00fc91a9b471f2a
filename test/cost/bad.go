package main

import "bytes"

// quadratic and quadraticSearch are what the test has to find.

func quadratic(in string) {
	n := 0
	for i := 0; i < len(in); i += 64 {
		for range in[i:] {
			n++
		}
	}
}

func quadraticSearch(in string) {
	for i := range in {
		bytes.IndexByte([]byte(in[i:]), 0)
	}
}
