# shellcheck shell=bash
# Part of scripts/test-upstream: records the results of runs on this machine, for docs/conformance.md. scripts/test-upstream
# sets root, cache and known.
# shellcheck disable=SC2154

# record_results merges the stored results of groups into test/conformance.txt, which has a line for each tree and group, and
# writes the table in the document from that file.
record_results() {
	local lines="$root/test/conformance.txt" doc="$root/docs/conformance.md" work
	work=$(mktemp -d)
	{ grep -v '^#' "$lines" || true; } >"$work/old"
	kept_results >"$work/new"
	{
		grep '^#' "$lines"
		awk '{ line[$1 " " $2] = $0 } END { for (key in line) print line[key] }' "$work/old" "$work/new" | sort
	} >"$work/lines"
	mv "$work/lines" "$lines"
	table "$lines" >"$work/table"
	put_table "$doc" table "$work/table"
	rm -rf "$work"
}

# kept_results prints a line "TREE GROUP DATE VERSION RUN PASSED UNSTEADY KNOWN FAILED SKIPPED" for each stored result. Results
# of groups that no longer exist are left out. A test is unsteady if it passed when it was repeated, or if it fails on stock
# too.
kept_results() {
	local tree file group version
	version=$(sed -n 's/^version *//p' "$root/patches/UPSTREAM")
	for tree in stock upstream stamped sealed; do
		for file in "$cache/$tree"/*.result; do
			group=$(basename "$file" .result)
			[[ -e $file && -e ${file%.result}.meta ]] && groups | grep -q "^$group " || continue
			# Which failures are known is decided by the list as it is now, which may have changed since the run.
			awk -v head="$tree $group $(cut -d ' ' -f 2 "${file%.result}.meta") $version" -v tree="$tree" '
				NR == FNR { if ($2 == "any" || $2 == tree || $2 == "patched" && tree != "stock" || $2 == "torture" && tree ~ /^s.*ed$/) known[$1]; next }
				{ n[($1 == "FAIL" || $1 == "UNSTEADY") && $2 in known ? "KNOWN" : $1]++; total++ }
				END { print head, total, n["PASS"] + 0, n["FLAKY"] + n["UNSTEADY"] + 0, n["KNOWN"] + 0, n["FAIL"] + 0, n["SKIP"] + 0 }' "$known" "$file"
		done
	done
}

# table LINES prints the table: a row for each group, in the order of the groups, and a column for each tree.
table() {
	printf '| part | stock | patched | stamped | sealed |\n|---|---|---|---|---|\n'
	groups | awk '
		function cell(key,    f, s) {
			if (!(key in line)) return "-"
			split(line[key], f, " ")
			s = f[6] + f[7] " of " f[5]
			if (f[8]) s = s ", " f[8] " known"
			if (f[9]) s = s ", **" f[9] " failed**"
			if (f[10]) s = s ", " f[10] " skipped"
			return s ", " substr(f[3], 6)
		}
		NR == FNR { if ($1 !~ /^#/) line[$1 " " $2] = $0; next }
		{ print "| " $1 " | " cell("stock " $1) " | " cell("upstream " $1) " | " cell("stamped " $1) " | " cell("sealed " $1) " |" }' "$1" -
}
