# shellcheck shell=bash
# Part of scripts/upgrade: what needs a human. Wants root, out, version, name and line from there.
# shellcheck disable=SC2154

# summary TESTS: what became of the tests, in words.
summary() {
	printf '\nWhat needs a human, for %s\n' "$version"
	printf '\nHunks that conflict:\n'
	conflicts | indent
	printf '\nChanged upstream, and our new files call it or it holds lines of ours. Read %s:\n' "${out#"$root"/}/drift.txt"
	sed -nE 's/^([^ ].*) (changed|is gone) (\(.*\))$/\1 \2 \3/p' "$out/drift.txt" | indent
	printf '\nFailed:\n'
	failures | indent
	printf '\nFor the table in docs/patching.md:\n'
	row "$1"
}

indent() { awk '{ print "  " $0 } END { if (!NR) print "  nothing" }'; }

# conflicts: "file:function" of each hunk, or what could not be merged.
conflicts() {
	awk '/^[0-9]+-[^ ]*\.patch: / { print; next } /^[^ ].* conflicts:$/ { patch = $1; next }
		patch && /^[^ ].*:/ { print $0 " (" patch ")" }' "$out/try.txt"
}

# failures: the tests that a step names, or the step alone.
failures() {
	local step names
	for step in "${failed[@]+"${failed[@]}"}"; do
		names=$(sed -nE 's/^ *--- FAIL: ([^ ]*).*/\1/p; s/^ *fails, twice: (.*)/\1/p' "$out/$step.log" | sort -u | head -n 20 | paste -sd ' ' -)
		printf '%s: %s\n' "$step" "${names:-see ${out#"$root"/}/$step.log}"
	done
	[[ ! -d $root/$name.failed ]] || printf 'the merge stopped in %s.failed; %s\n' "$name" "$(sed -n 's/^hint: //p' "$out/make.log" | tail -n 1)"
}

# row TESTS: of the table of replays.
row() {
	local drift
	drift=$(sed -nE 's/^changed: ([0-9]+ of [0-9]+) called functions, ([0-9]+ of [0-9]+) functions that hold.*/\1 called, \2 with our lines/p' "$out/drift.txt")
	printf '| %s%s | %s | %s | %d | %s |\n' "$version" "${line:+ (line $line)}" "$(tail -n 1 "$out/try.txt")" "$drift" "$(((SECONDS + 59) / 60))" "$1"
}
