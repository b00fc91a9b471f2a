# shellcheck shell=bash
# Part of scripts/test-upstream: run the groups, retry, and judge.
# Wants root, line, known, cache, tree, folder, resume and jobs from there.
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
	# setup is in upstream's words "a second, non-loopback address": three tests look for one.
	setup='ip link set lo up && ip link add d0 type veth peer name d1 && ip addr add 198.51.100.1/24 dev d0 && ip link set d0 up && ip link set d1 up'
	if command -v ip >/dev/null && unshare -n bash -c "$setup" 2>/dev/null; then
		isolate=1
	else
		jobs=1
		printf 'no network namespaces here: the groups run one at a time, on the ports of this machine\n'
	fi
}

# forget LINES: what earlier runs of those groups left; with resume, a group stays that ended
# with the same binary. What is to be run is printed.
forget() {
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

# key PACKAGE: of what is tested; go makes the same binary of the same source.
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
	# Some tests leave their stores behind, which scripts/upstream would take for work.
	rm -rf "$root/$folder/test/"{_custom_,_rc_} "$root/$folder/server/\$"{G,SYS}
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
	(cd "$root/$folder/$package" && TMPDIR="$out/tmp/$group" exec "${wrap[@]+"${wrap[@]}"}" \
		"$out/${package//\//-}.test" -test.v=test2json -test.run "$pattern" -test.timeout "$limit") \
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

# group_tests PACKAGE FILES PATTERN [EXCEPT]: the names, in the order of the binary.
group_tests() {
	local list="$out/${1//\//-}.list" file
	local -a paths=()
	if [[ $2 == - ]]; then
		grep -E "$3" "$list"
		return
	fi
	for file in ${2//,/ }; do
		# An earlier line may lack a file that the groups, which are the main line's, name.
		[[ -n $line && ! -e $root/$folder/$1/${file}_test.go ]] || paths+=("$root/$folder/$1/${file}_test.go")
	done
	((${#paths[@]})) || return 0
	sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' "${paths[@]}" | grep -E "$3" | grep -vE "${4:-^\$}" |
		awk 'NR == FNR { wanted[$1]; next } $1 in wanted' - "$list"
}

# complete: every test of the packages is in one group, so that one which a new version
# brings is not missed.
complete() {
	local name mark limit package files pattern except bad
	while read -r name mark limit package files pattern except; do
		group_tests "$package" "$files" "$pattern" "$except" | sed "s|^|$package |"
	done < <(groups) | sort >"$out/tmp/grouped"
	while read -r package; do
		sed "s|^|$package |" "$out/${package//\//-}.list"
	done < <(groups | awk '{ print $4 }' | sort -u) | sort >"$out/tmp/listed"
	bad=$(diff "$out/tmp/listed" "$out/tmp/grouped" | sed -n 's/^< /in no group: /p; s/^> /in two groups: /p' || true)
	[[ -z $bad ]] || {
		printf 'test-upstream: %s\nhint: scripts/lib/test-upstream-groups.sh\n' "$bad" >&2
		return 1
	}
}

# without_hanging takes the tests out that are not run in torture.
without_hanging() {
	awk -v tree="$tree" 'NR == FNR { if ($2 == "hangs" && tree ~ /^s.*ed$/) hangs[$1]; next } !($1 in hangs)' "$known" -
}

is_known() { # TEST
	awk -v name="$1" -v tree="$tree" '$1 == name && ($2 == "any" || $2 == tree || $2 == "patched" && tree != "stock" || $2 == "torture" && tree ~ /^s.*ed$/) { found = 1 } END { exit !found }' "$known"
}

# run_group NAME MARK LIMIT PACKAGE FILES PATTERN: leaves NAME.result, a line for
# each test: what became of it, its name, and after how many attempts.
run_group() {
	local group=$1 limit=$3 package=$4 log="$out/$1.log" work="$out/tmp/$1.work" start=$SECONDS round name verdict
	mkdir -p "$work"
	group_tests "$package" "$5" "$6" "${7-}" | without_hanging >"$work/names"
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
	done <"$work/names" >"$work/result"
	printf '%s %s %d\n' "$(key "$package")" "$(date -u +%F)" "$((SECONDS - start))" >"$out/$group.meta"
	mv "$work/result" "$out/$group.result"
	summary "$group"
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
settle() { # RESULT...
	local group package name file passed stock
	while read -r file name; do
		group=$(basename "$file" .result)
		package=$(groups | awk -v name="$group" '$1 == name { print $4 }')
		passed=$(passes "$out" "$tree" "$package" "$name" </dev/null)
		printf '%s: passed %d of 3 more runs\n' "$name" "$passed"
		if ((passed == 0)) && [[ $tree != stock ]]; then
			stock=$(stock_passes "$package" "$name" </dev/null)
			printf '%s: passed %d of 3 runs on stock\n' "$name" "$stock"
			((stock > 0)) || passed=-1
		fi
		((passed == 0)) || sed -i.old "s/^FAIL $name\$/UNSTEADY $name/" "$file"
	done < <(awk '$1 == "FAIL" { print FILENAME, $2 }' "$@")
}

# passes DIR TREE PACKAGE TEST: in how many of three runs, alone, the test passes.
passes() {
	local dir=$1 in_tree=$2 package=$3 name=$4 attempt count=0
	printf '%s\n' "$name" >"$dir/one"
	for attempt in 1 2 3; do
		: >"$dir/settle-$name-$attempt.log"
		out=$dir folder=$(folder_of "$in_tree") run_tests "settle-$name-$attempt" 3m "$package" "$dir/one"
		! results "$dir/settle-$name-$attempt.log" | grep -q "^PASS $name\$" || count=$((count + 1))
	done
	rm "$dir/one"
	printf '%d' "$count"
}

# stock_passes PACKAGE TEST: the same on the unpatched tree, whose tests are compiled for it.
stock_passes() {
	local dir="$cache/stock${race:+-race}" stock
	stock=$(folder_of stock)
	mkdir -p "$dir/tmp"
	{
		make_stock
		[[ -f $dir/${1//\//-}.test && $dir/${1//\//-}.test -nt $root/$stock/.stamp-pin ]] || out=$dir tree=stock folder=$stock compile "$1"
	} >&2
	passes "$dir" stock "$1" "$2"
}

# summary GROUP: the line of the group, and one for each test that did not simply pass.
summary() {
	awk -v group="$1" -v seconds="$(cut -d ' ' -f 3 "$out/$1.meta")" '
		{ n[$1]++; total++ }
		$1 == "FAIL" { notes = notes "\n    fails, twice: " $2 }
		$1 == "KNOWN" { notes = notes "\n    fails, as is known: " $2 }
		$1 == "FLAKY" { notes = notes "\n    passed when run again alone: " $2 }
		END {
			printf "%-10s %4d run %4d passed %3d failed %3d skipped %4d s%s\n", group, total,
				n["PASS"] + n["FLAKY"] + n["UNSTEADY"], n["FAIL"] + n["KNOWN"], n["SKIP"], seconds, notes
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

# verdict LINES: of those groups.
verdict() {
	local unknown name rest
	local -a results=()
	while read -r name rest; do results+=("$out/$name.result"); done <<<"$1"
	settle "${results[@]}"
	unknown=$(awk '$1 == "FAIL" { print $2 }' "${results[@]}")
	awk -v tree="$tree" '{ n[$1]++ } END { printf "%s: %d tests, %d passed, %d after a second run, %d unsteady or failing on stock, %d fail as known, %d fail, %d skipped\n",
		tree, NR, n["PASS"] + n["FLAKY"], n["FLAKY"], n["UNSTEADY"], n["KNOWN"], n["FAIL"], n["SKIP"] }' "${results[@]}"
	[[ -z $unknown ]] || {
		printf 'test-upstream: fail in every run, here alone, and are not on the list test/upstream-known.txt:\n%s\nhint: the output is in %s/\n' \
			"$unknown" "${out#"$root"/}" >&2
		return 1
	}
}
