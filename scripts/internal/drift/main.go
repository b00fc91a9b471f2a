// Command drift prints what changed between two versions of upstream in the code that our patches depend on: functions that
// have lines of ours, and declarations that our new files use. scripts/upstream drift runs it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	tree := flag.String("tree", "", "folder of the patched tree")
	from := flag.String("from", "", "folder of the older version")
	to := flag.String("to", "", "folder of the newer version")
	oursFile := flag.String("ours", "", "file that lists which lines of the patched tree are ours")
	exports := flag.String("exports", "", "file with a line PATH=FILE for each compiled package; FILE has its export data")
	deep := flag.Bool("deep", false, "also list the functions that the called functions call")
	flag.Parse()
	if err := run(os.Stdout, *tree, *from, *to, *oursFile, *exports, *deep); err != nil {
		fmt.Fprintf(os.Stderr, "drift: %v\n", err)
		os.Exit(1)
	}
}

func run(w io.Writer, tree, from, to, oursFile, exportsFile string, deep bool) error {
	ours, err := readOurs(oursFile)
	if err != nil {
		return err
	}
	exports, err := readExports(exportsFile)
	if err != nil {
		return err
	}
	r := &report{w: w, deep: deep}
	for _, dir := range ours.folders() {
		uses, err := collect(tree, dir, ours, exports)
		if err != nil {
			return err
		}
		older, err := index(from, dir)
		if err != nil {
			return err
		}
		newer, err := index(to, dir)
		if err != nil {
			return err
		}
		if err := r.add(uses, older, newer); err != nil {
			return err
		}
	}
	r.summary()
	return nil
}
