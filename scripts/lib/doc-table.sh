# shellcheck shell=bash

# put_table DOCUMENT NAME TABLE replaces the text between the lines "<!-- NAME -->" and "<!-- end -->" of the document by
# the content of the file TABLE.
put_table() {
	local new
	new=$(mktemp)
	awk -v mark="<!-- $2 -->" -v table="$3" '
		$0 == mark { print; print ""; while ((getline line < table) > 0) print line; print ""; inside = 1; next }
		/^<!-- end -->$/ { inside = 0 }
		!inside' "$1" >"$new"
	cat "$new" >"$1"
	rm "$new"
}
