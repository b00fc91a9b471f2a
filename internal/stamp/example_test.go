package stamp_test

import (
	"fmt"
	"strings"

	"stamp/internal/stamp"
)

// The stamp replaces what a publisher sends under a stamped name, in any spelling.
func ExampleStamp_Append() {
	s, err := stamp.Compile([]stamp.Header{
		{Name: "Session", Values: []string{"0af3"}},
		{Name: "Authorization", Values: []string{"Bearer ey"}, Subjects: []string{"api.>"}},
	}, stamp.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, block := range []string{
		"",
		"NATS/1.0\r\nsession: admin\r\nTrace: 7\r\n\r\n",
		"NATS/1.0\r\nTrace: 7\r\n Session: admin\r\n\r\n",
	} {
		out, err := s.Append(nil, []byte("orders.new"), []byte(block))
		fmt.Printf("%s\n", strings.ReplaceAll(string(out), "\r\n", "|"))
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// NATS/1.0|Session: 0af3||
	// NATS/1.0|Trace: 7|Session: 0af3||
	//
	// header line 3: line begins with a space or tab; folded lines are not supported
}
