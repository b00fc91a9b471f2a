# shellcheck shell=bash
# Part of scripts/test-upstream: runs the groups, repeats tests that failed, and decides which failures count.
# scripts/test-upstream sets root, line, known, cache, tree, folder, race, resume and jobs.
# shellcheck disable=SC2154

out='' isolate=''

begin() {
	out="$cache/$tree${race:+-race}"
	mkdir -p "$out"
	rm -rf "$out"/*.pid "$out/tmp"
	mkdir "$out/tmp"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# setup gives the network a second address, which is not a loopback address: three of upstream's tests look for one.
	setup='ip link set lo up && ip link add d0 type veth peer name d1 && ip addr add 198.51.100.1/24 dev d0 && ip link set d0 up && ip link set d1 up'
	if command -v ip >/dev/null && unshare -n bash -c "$setup" 2>/dev/null; then
		isolate=1
	else
		jobs=1
		printf 'note: unshare -n is not permitted here, so the groups run one after the other, on the ports of this machine\n'
	fi
}

# drop_results LINES removes the results of earlier runs of those groups, and prints the groups to run. With --resume it keeps the
# results of groups that an earlier run finished with the same binary, and does not print these groups.
drop_results() {
	local -a fields
	while read -r -a fields; do
		if [[ -n $resume && -f $out/${fields[0]}.meta && $(cut -d ' ' -f 1 "$out/${fields[0]}.meta") == "$(key "${fields[3]}")" ]]; then
			printf 'kept: ' >&2
			summary "${fields[0]}" >&2
			continue
		fi
		rm -f "$out/${fields[0]}".{log,result,meta} "$out/${fields[0]}"-Test*.log
		printf '%s\n' "${fields[*]}"
	done <<<"$1"
}

# key PACKAGE prints a checksum of the test binary. It changes only if the source changes, because Go's builds are reproducible.
key() { "${sha256[@]}" "$out/${1//\//-}.test" | cut -c1-64; }

sha256=(sha256sum)
command -v sha256sum >/dev/null || sha256=(shasum -a 256)

# cleanup ends the processes of this run that are still alive, and no others.
cleanup() {
	local file
	for file in "$out"/*.pid; do
		[[ ! -e $file ]] || kill -KILL "$(<"$file")" 2>/dev/null || true
	done
	rm -rf "$out/tmp" "$out"/*.pid
	# Some tests leave stores behind in the tree. scripts/upstream would take these for work that must not be lost.
	rm -rf "$root/$folder/test/"{_custom_,_rc_} "$root/$folder/server/\$"{G,SYS}
}

# run_tests GROUP LIMIT PACKAGE FILE runs the tests that are named in FILE, in one process, and appends its output to the log of
# the group. The exit status is ignored, because the results are read from the output.
run_tests() {
	local group=$1 limit=$2 package=$3 pattern
	local -a wrap=()
	pattern="^($(paste -sd '|' "$4"))\$"
	[[ -z $isolate ]] || wrap=(unshare -n bash -c "$setup && exec \"\$@\"" _)
	mkdir -p "$out/tmp/$group"
	# test2json marks the lines about results, so that they can be told from the output of servers.
	(cd "$root/$folder/$package" && TMPDIR="$out/tmp/$group" exec "${wrap[@]+"${wrap[@]}"}" \
		"$out/${package//\//-}.test" -test.v=test2json -test.run "$pattern" -test.timeout "$limit") \
		>>"$out/$group.log" 2>&1 </dev/null &
	printf '%d' "$!" >"$out/$group.pid"
	wait "$!" || true
	rm -rf "$out/$group.pid" "$out/tmp/$group"
}

# results LOG prints a line such as "PASS TestName" for each test that ended, without subtests. If a test ran several times, its
# last result counts.
results() {
	tr -d '\000' <"$1" | sed -n $'s/.*\x16--- \\([A-Z]*\\): \\(Test[A-Za-z0-9_]*\\) (.*/\\1 \\2/p' |
		awk '{ last[$2] = $1 } END { for (name in last) print last[name], name }'
}

# begun LOG prints the tests that began.
begun() {
	tr -d '\000' <"$1" | sed -n $'s/.*\x16=== RUN  *\\(Test[A-Za-z0-9_]*\\)$/\\1/p' | sort -u
}

# group_tests PACKAGE FILES PATTERN [EXCEPT] prints the names of the group's tests, in the order in which the binary runs them.
group_tests() {
	local list="$out/${1//\//-}.list" file
	local -a paths=()
	if [[ $2 == - ]]; then
		grep -E "$3" "$list"
		return
	fi
	for file in ${2//,/ }; do
		# The groups are written for the main line. An earlier line may not have all of the files.
		[[ -n $line && ! -e $root/$folder/$1/${file}_test.go ]] || paths+=("$root/$folder/$1/${file}_test.go")
	done
	((${#paths[@]})) || return 0
	sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' "${paths[@]}" | grep -E "$3" | grep -vE "${4:-^\$}" |
		awk 'NR == FNR { wanted[$1]; next } $1 in wanted' - "$list"
}

# check_groups fails unless each test of the packages is in exactly one group. So new tests of a new version are not missed.
check_groups() {
	local name mark limit package files pattern except bad
	while read -r name mark limit package files pattern except; do
		group_tests "$package" "$files" "$pattern" "$except" | sed "s|^|$package |"
	done < <(groups) | sort >"$out/tmp/grouped"
	while read -r package; do
		sed "s|^|$package |" "$out/${package//\//-}.list"
	done < <(groups | awk '{ print $4 }' | sort -u) | sort >"$out/tmp/listed"
	bad=$(diff "$out/tmp/listed" "$out/tmp/grouped" | sed -n 's/^< /in no group: /p; s/^> /in two groups: /p' || true)
	[[ -z $bad ]] || {
		printf 'test-upstream: expected each test of upstream in exactly one group:\n%s\nhint: correct scripts/lib/test-upstream-groups.sh\n' "$bad" >&2
		return 1
	}
}

# without_hanging removes the tests from its input that test/upstream-known.txt lists as hanging in the trees stamped and sealed.
without_hanging() {
	awk -v tree="$tree" 'NR == FNR { if ($2 == "hangs" && tree ~ /^s.*ed$/) hangs[$1]; next } !($1 in hangs)' "$known" -
}

# is_known TEST succeeds if test/upstream-known.txt says that the test may fail in this tree.
is_known() {
	awk -v name="$1" -v tree="$tree" '$1 == name && ($2 == "any" || $2 == tree || $2 == "patched" && tree != "stock" || $2 == "torture" && tree ~ /^s.*ed$/) { found = 1 } END { exit !found }' "$known"
}

# run_group NAME MARK LIMIT PACKAGE FILES PATTERN [EXCEPT] runs a group and writes NAME.result, which has a line for each test:
# its result and its name.
run_group() {
	local group=$1 limit=$3 package=$4 log="$out/$1.log" work="$out/tmp/$1.work" start=$SECONDS round name verdict
	mkdir -p "$work"
	group_tests "$package" "$5" "$6" "${7-}" | without_hanging >"$work/names"
	: >"$log"
	cp "$work/names" "$work/todo"
	# A panic or the time limit ends the whole process. The tests that had begun by then are repeated alone later. The others
	# are run in another process.
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
	done <"$work/names" >"$work/result"
	printf '%s %s %d\n' "$(key "$package")" "$(date -u +%F)" "$((SECONDS - start))" >"$out/$group.meta"
	mv "$work/result" "$out/$group.result"
	summary "$group"
	rm -rf "$work"
}

# retry GROUP PACKAGE TEST VERDICT repeats a test that did not pass, and prints its line for the result.
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

# repeats is how often a test may fail that is repeated. Some of upstream's tests fail in one of four runs, on stock too.
readonly repeats=8

# repeat_failures RESULT... repeats each test that failed twice and is not known, when no group is running any more. A
# test that passes once is unsteady. A test that never passes on stock either fails because of upstream. Both are
# marked in the result. The failures that are left make the script fail.
repeat_failures() {
	local group package name file passed unsteady
	while read -r file name; do
		group=$(basename "$file" .result)
		package=$(groups | awk -v name="$group" '$1 == name { print $4 }')
		passed=$(passing_run "$out" "$tree" "$package" "$name" </dev/null)
		unsteady=$passed
		printf '%s: %s\n' "$name" "${passed:-failed in each of $repeats more runs}"
		if [[ -z $passed && $tree != stock ]]; then
			passed=$(stock_passing_run "$package" "$name" </dev/null)
			printf '%s: on stock it %s\n' "$name" "${passed:-failed in each of $repeats runs}"
			[[ -n $passed ]] || unsteady='never passes on stock'
		fi
		[[ -z $unsteady ]] || sed -i.old "s/^FAIL $name\$/UNSTEADY $name/" "$file"
	done < <(awk '$1 == "FAIL" { print FILENAME, $2 }' "$@")
}

# passing_run DIR TREE PACKAGE TEST runs the test alone until it passes, and prints when that was, or nothing if it fails in
# all repeats.
passing_run() {
	local dir=$1 in_tree=$2 package=$3 name=$4 attempt passed=''
	printf '%s\n' "$name" >"$dir/one"
	for ((attempt = 1; attempt <= repeats; attempt++)); do
		: >"$dir/repeat-$name-$attempt.log"
		out=$dir folder=$(folder_of "$in_tree") run_tests "repeat-$name-$attempt" 3m "$package" "$dir/one"
		if results "$dir/repeat-$name-$attempt.log" | grep -q "^PASS $name\$"; then
			passed="passed in run $attempt of at most $repeats"
			break
		fi
	done
	rm "$dir/one"
	printf '%s' "$passed"
}

# stock_passing_run PACKAGE TEST does the same on the stock tree. It compiles the tests of that tree first, if needed.
stock_passing_run() {
	local dir="$cache/stock${race:+-race}" stock
	stock=$(folder_of stock)
	mkdir -p "$dir/tmp"
	{
		make_stock
		[[ -f $dir/${1//\//-}.test && $dir/${1//\//-}.test -nt $root/$stock/.stamp-pin ]] || out=$dir tree=stock folder=$stock compile "$1"
	} >&2
	passing_run "$dir" stock "$1" "$2"
}

# summary GROUP prints the line of the group, and a line for each test that did not pass at once.
summary() {
	awk -v group="$1" -v seconds="$(cut -d ' ' -f 3 "$out/$1.meta")" '
		{ n[$1]++; total++ }
		$1 == "FAIL" { notes = notes "\n    failed twice: " $2 }
		$1 == "KNOWN" { notes = notes "\n    failed, as test/upstream-known.txt says: " $2 }
		$1 == "FLAKY" { notes = notes "\n    passed when repeated alone: " $2 }
		END {
			printf "%-10s %4d run %4d passed %3d failed %3d skipped %4d s%s\n", group, total,
				n["PASS"] + n["FLAKY"] + n["UNSTEADY"], n["FAIL"] + n["KNOWN"], n["SKIP"], seconds, notes
		}' "$out/$1.result"
}

# run_groups LINES runs those groups, as many at the same time as --jobs says.
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

# verdict LINES prints the result of all those groups together. It fails if a failure counts.
verdict() {
	local unknown name rest
	local -a results=()
	while read -r name rest; do results+=("$out/$name.result"); done <<<"$1"
	repeat_failures "${results[@]}"
	unknown=$(awk '$1 == "FAIL" { print $2 }' "${results[@]}")
	awk -v tree="$tree" '{ n[$1]++ } END { printf "%s: %d tests, %d passed (%d of them when repeated), %d unsteady or failing on stock too, %d failed as test/upstream-known.txt says, %d failed, %d skipped\n",
		tree, NR, n["PASS"] + n["FLAKY"], n["FLAKY"], n["UNSTEADY"], n["KNOWN"], n["FAIL"], n["SKIP"] }' "${results[@]}"
	[[ -z $unknown ]] || {
		printf 'test-upstream: these tests fail in each run, pass on stock, and are not in test/upstream-known.txt:\n%s\nhint: the output is in %s/\n' \
			"$unknown" "${out#"$root"/}" >&2
		return 1
	}
}
