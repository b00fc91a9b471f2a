# shellcheck shell=bash
# Part of scripts/test-upstream: run the groups, retry, and judge.
# Wants root, known, cache, tree and jobs from there.
# shellcheck disable=SC2154

out='' isolate=''

begin() {
	out="$cache/$tree${race:+-race}"
	mkdir -p "$out"
	rm -rf "$out"/*.log "$out"/*.result "$out"/*.pid "$out/tmp"
	mkdir "$out/tmp"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# setup is in upstream's words "a second, non-loopback address": three tests look for one.
	setup='ip link set lo up && ip link add d0 type veth peer name d1 && ip addr add 198.51.100.1/24 dev d0 && ip link set d0 up && ip link set d1 up'
	if command -v ip >/dev/null && unshare -n bash -c "$setup" 2>/dev/null; then
		isolate=1
	else
		jobs=1
		printf 'no network namespaces here: the groups run one at a time, on the ports of this machine\n'
	fi
}

# cleanup ends the processes of this run that are still alive, and no others.
cleanup() {
	local file
	for file in "$out"/*.pid; do
		[[ ! -e $file ]] || kill -KILL "$(<"$file")" 2>/dev/null || true
	done
	rm -rf "$out/tmp" "$out"/*.pid
	# TestOCSPResponseCacheLocalStoreOpt leaves its store behind, which scripts/upstream
	# would take for work.
	rm -rf "$root/$tree/test/_custom_"
}

# run_tests GROUP LIMIT PACKAGE FILE: run the tests that are named in FILE, in one process;
# its output is appended to the group's log. The status says nothing: the output
# is what is judged.
run_tests() {
	local group=$1 limit=$2 package=$3 pattern
	local -a wrap=()
	pattern="^($(paste -sd '|' "$4"))\$"
	[[ -z $isolate ]] || wrap=(unshare -n bash -c "$setup && exec \"\$@\"" _)
	mkdir -p "$out/tmp/$group"
	# json is what makes the lines of results recognizable in between what servers print.
	(cd "$root/$tree/$package" && TMPDIR="$out/tmp/$group" exec "${wrap[@]+"${wrap[@]}"}" \
		"$out/$package.test" -test.v=test2json -test.run "$pattern" -test.timeout "$limit") \
		>>"$out/$group.log" 2>&1 </dev/null &
	printf '%d' "$!" >"$out/$group.pid"
	wait "$!" || true
	rm -rf "$out/$group.pid" "$out/tmp/$group"
}

# results LOG: "PASS TestX" and the like for each top level test that ended; a
# test that ended more than once counts as it did the last time.
results() {
	tr -d '\000' <"$1" | sed -n $'s/.*\x16--- \\([A-Z]*\\): \\(Test[A-Za-z0-9_]*\\) (.*/\\1 \\2/p' |
		awk '{ last[$2] = $1 } END { for (name in last) print last[name], name }'
}

# begun LOG: the tests that began.
begun() {
	tr -d '\000' <"$1" | sed -n $'s/.*\x16=== RUN  *\\(Test[A-Za-z0-9_]*\\)$/\\1/p' | sort -u
}

# group_tests PACKAGE FILES PATTERN: the names, in the order of the binary.
group_tests() {
	local list="$out/$1.list" file
	local -a paths=()
	if [[ $2 == - ]]; then
		grep -E "$3" "$list"
		return
	fi
	for file in ${2//,/ }; do paths+=("$root/$tree/$1/${file}_test.go"); done
	sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' "${paths[@]}" | grep -E "$3" |
		awk 'NR == FNR { wanted[$1]; next } $1 in wanted' - "$list"
}

is_known() { # TEST
	awk -v name="$1" -v tree="$tree" '$1 == name && ($2 == "both" || $2 == tree) { found = 1 } END { exit !found }' "$known"
}

# run_group NAME MARK LIMIT PACKAGE FILES PATTERN: leaves NAME.result, a line for
# each test: what became of it, its name, and after how many attempts.
run_group() {
	local group=$1 limit=$3 package=$4 log="$out/$1.log" work="$out/tmp/$1.work" start=$SECONDS round name verdict
	mkdir -p "$work"
	group_tests "$package" "$5" "$6" >"$work/names"
	: >"$log"
	cp "$work/names" "$work/todo"
	# A panic or the time limit ends the process: what had begun by then is for the
	# retry, the rest is run again without it.
	for round in 1 2 3 4 5; do
		[[ -s $work/todo ]] || break
		((round == 1)) || printf 'process %d of group %s\n' "$round" "$group" >>"$log"
		run_tests "$group" "$limit" "$package" "$work/todo"
		{ begun "$log" && results "$log" | cut -d ' ' -f 2; } | sort -u |
			awk 'NR == FNR { seen[$1]; next } !($1 in seen)' - "$work/names" >"$work/todo"
	done
	results "$log" >"$work/first"
	while read -r name; do
		verdict=$(awk -v name="$name" '$2 == name { print $1 }' "$work/first")
		retry "$group" "$package" "$name" "${verdict:-ENDED}" </dev/null
	done <"$work/names" >"$out/$group.result"
	summary "$group" "$((SECONDS - start))"
	rm -rf "$work"
}

# retry GROUP PACKAGE TEST VERDICT prints the line of the result.
retry() {
	local group=$1 package=$2 name=$3 verdict=$4
	if [[ $verdict == PASS || $verdict == SKIP ]]; then
		printf '%s %s\n' "$verdict" "$name"
		return
	fi
	printf '%s\n' "$name" >"$out/tmp/$group.work/one"
	: >"$out/$group-$name.log"
	run_tests "$group-$name" 3m "$package" "$out/tmp/$group.work/one"
	if results "$out/$group-$name.log" | grep -q "^PASS $name\$"; then
		printf 'FLAKY %s\n' "$name"
	elif is_known "$name"; then
		printf 'KNOWN %s\n' "$name"
	else
		printf 'FAIL %s\n' "$name"
	fi
}

# settle judges what failed twice and is not known, when nothing else runs any more: a
# test that passes in one of three further runs is unsteady, and one that never passes on
# stock either is not ours. What is left fails the script.
settle() {
	local group package name file passed stock
	while read -r file name; do
		group=$(basename "$file" .result)
		package=$(groups | awk -v name="$group" '$1 == name { print $4 }')
		passed=$(passes "$out" "$tree" "$package" "$name" </dev/null)
		printf '%s: passed %d of 3 more runs\n' "$name" "$passed"
		if ((passed == 0)) && [[ $tree == upstream ]]; then
			stock=$(stock_passes "$package" "$name" </dev/null)
			printf '%s: passed %d of 3 runs on stock\n' "$name" "$stock"
			((stock > 0)) || passed=-1
		fi
		((passed == 0)) || sed -i.old "s/^FAIL $name\$/UNSTEADY $name/" "$file"
	done < <(awk '$1 == "FAIL" { print FILENAME, $2 }' "$out"/*.result)
}

# passes DIR TREE PACKAGE TEST: in how many of three runs, alone, the test passes.
passes() {
	local dir=$1 in_tree=$2 package=$3 name=$4 attempt count=0
	printf '%s\n' "$name" >"$dir/one"
	for attempt in 1 2 3; do
		: >"$dir/settle-$name-$attempt.log"
		out=$dir tree=$in_tree run_tests "settle-$name-$attempt" 3m "$package" "$dir/one"
		! results "$dir/settle-$name-$attempt.log" | grep -q "^PASS $name\$" || count=$((count + 1))
	done
	rm "$dir/one"
	printf '%d' "$count"
}

# stock_passes PACKAGE TEST: the same on the unpatched tree, whose tests are compiled for it.
stock_passes() {
	local dir="$cache/stock${race:+-race}"
	mkdir -p "$dir/tmp"
	{
		"$root/scripts/upstream" stock
		[[ -n $(find "$dir/$1.test" -newer "$out/$1.test" 2>/dev/null) ]] || out=$dir tree=stock compile "$1"
	} >&2
	passes "$dir" stock "$1" "$2"
}

# summary GROUP SECONDS: the line of the group, and one for each test that did not simply pass.
summary() {
	awk -v group="$1" -v seconds="$2" '
		{ n[$1]++; total++ }
		$1 == "FAIL" { notes = notes "\n    fails, twice: " $2 }
		$1 == "KNOWN" { notes = notes "\n    fails, as is known: " $2 }
		$1 == "FLAKY" { notes = notes "\n    passed when run again alone: " $2 }
		END {
			printf "%-10s %4d run %4d passed %3d failed %3d skipped %4d s%s\n", group, total,
				n["PASS"] + n["FLAKY"], n["FAIL"] + n["KNOWN"], n["SKIP"], seconds, notes
		}' "$out/$1.result"
}

# run_groups LINES: that many at a time.
run_groups() {
	local running=0
	local -a fields
	while read -r -a fields; do
		if ((running >= jobs)); then
			wait -n || true
			running=$((running - 1))
		fi
		run_group "${fields[@]}" </dev/null &
		running=$((running + 1))
	done <<<"$1"
	wait
}

verdict() {
	local unknown
	settle
	unknown=$(cat "$out"/*.result | awk '$1 == "FAIL" { print $2 }')
	cat "$out"/*.result | awk -v tree="$tree" '{ n[$1]++ } END { printf "%s: %d tests, %d passed, %d after a second run, %d unsteady or failing on stock, %d fail as known, %d fail, %d skipped\n",
		tree, NR, n["PASS"] + n["FLAKY"], n["FLAKY"], n["UNSTEADY"], n["KNOWN"], n["FAIL"], n["SKIP"] }'
	[[ -z $unknown ]] || {
		printf 'test-upstream: fail in every run, here alone, and are not on the list test/upstream-known.txt:\n%s\nhint: the output is in %s/\n' \
			"$unknown" "${out#"$root"/}" >&2
		return 1
	}
}
