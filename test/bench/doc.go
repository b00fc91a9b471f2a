// Command bench measures the stamping server against the stock one, in one run.
//
// The measure is the CPU time of the server process for one message, because it
// hardly depends on what else the machine does. Both servers run beside each
// other; in each round every case is measured once on each, next to each other in
// time and in random order, and what is reported is the median of the rounds'
// ratios. A second process of the stock binary shows the noise: its ratio would
// be 1 on a quiet machine.
//
// scripts/bench builds the servers and runs it.
package main
