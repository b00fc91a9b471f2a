# shellcheck shell=bash
# Part of scripts/upgrade: prints what a person has to look at. scripts/upgrade sets root, out, version, name, line and failed.
# shellcheck disable=SC2154

# summary TESTS prints the report. TESTS says which tests passed or failed, for the row of the table.
summary() {
	printf '\nWhat a person has to look at, for %s\n' "$version"
	printf '\nHunks that conflict:\n'
	conflicts | indent
	printf '\nCode that upstream changed, and that our new files use or that has lines of ours (%s shows the changes):\n' "${out#"$root"/}/drift.txt"
	sed -nE 's/^([^ ].*) (changed|is gone) (\(.*\))$/\1 \2 \3/p' "$out/drift.txt" | indent
	printf '\nFailed:\n'
	failures | indent
	printf '\nFor the table in docs/patching.md:\n'
	row "$1"
}

indent() { awk '{ print "  " $0 } END { if (!NR) print "  nothing" }'; }

# conflicts prints "file:function" for each hunk that conflicts, and a line for each patch that could not be merged.
conflicts() {
	awk '/^[0-9]+-[^ ]*\.patch: / { print; next } /^[^ ].* conflicts:$/ { patch = $1; next }
		patch && /^[^ ].*:/ { print $0 " (" patch ")" }' "$out/try.txt"
}

# failures prints a line for each step that failed, with the tests that failed in it or the name of its log.
failures() {
	local step names
	for step in "${failed[@]+"${failed[@]}"}"; do
		names=$(sed -nE 's/^ *--- FAIL: ([^ ]*).*/\1/p; s/^ *failed twice: (.*)/\1/p' "$out/$step.log" | sort -u | head -n 20 | paste -sd ' ' -)
		printf '%s: %s\n' "$step" "${names:-see ${out#"$root"/}/$step.log}"
	done
	[[ ! -d $root/$name.failed ]] || printf 'the merge stopped in %s.failed; %s\n' "$name" "$(sed -n 's/^hint: //p' "$out/make.log" | tail -n 1)"
}

# row TESTS prints a row for the table of results in docs/patching.md.
row() {
	local drift
	drift=$(sed -nE 's/^changed: ([0-9]+ of [0-9]+) called functions, ([0-9]+ of [0-9]+) functions that have.*/\1 called, \2 with our lines/p' "$out/drift.txt")
	printf '| %s%s | %s | %s | %d | %s |\n' "$version" "${line:+ (line $line)}" "$(tail -n 1 "$out/try.txt")" "$drift" "$(((SECONDS + 59) / 60))" "$1"
}
