# shellcheck shell=bash
# Part of scripts/release: makes the images as OCI archives, with no container engine and no registry but one on this machine.
# scripts/release sets root, out, version, epoch and targets.
# shellcheck disable=SC2154

readonly crane=github.com/google/go-containerregistry/cmd/crane@v0.22.1

image_registry='' # id of the process of the registry

step_image() {
	local command address dir="$out/build/image"
	command=$(tool "$crane")
	rm -rf "$dir"
	mkdir -p "$dir"
	start_registry "$command" "$dir/registry.log"
	image nats-server ''
	image nats-callout callout
	stop_registry
	rm -rf "$dir"
}

# image NAME STAGE makes one archive with the images of a command for each target. Their settings are those of that stage of
# the Dockerfile, or of the last stage if STAGE is empty.
image() {
	local name=$1 target tag
	local -a settings=() manifests=()
	image_settings settings "$2"
	for target in "${targets[@]}"; do
		case $target in linux/amd64 | linux/arm64) ;; *) continue ;; esac
		need_binaries "$target"
		tag="$address/$name:${target#*/}"
		"$root/scripts/image-root" "$(folder "$target")/$name" >"$dir/layer.tar"
		"$command" append --oci-empty-base --new_layer "$dir/layer.tar" --new_tag "$tag" >/dev/null 2>>"$dir/crane.log"
		"$command" mutate "$tag" --set-platform "$target" "${settings[@]}" --tag "$tag" >/dev/null 2>>"$dir/crane.log"
		manifests+=(--manifest "$tag")
	done
	((${#manifests[@]})) || return 0
	"$command" index append "${manifests[@]}" --tag "$address/$name:all" >/dev/null 2>>"$dir/crane.log"
	"$command" pull --format oci "$address/$name:all" "$dir/$name" 2>>"$dir/crane.log"
	find "$dir/$name" -type f -exec chmod 0644 {} +
	tar -C "$dir/$name" --format=ustar --sort=name --mtime="@$epoch" --numeric-owner --owner=0 --group=0 \
		--mode=u=rwX,go=rX -cf "$out/$name-$version.oci.tar" oci-layout index.json blobs
}

# start_registry CRANE LOG starts a registry on the loopback interface, which keeps its images in memory, and sets address.
start_registry() {
	: >"$2" # the loop below reads the file, perhaps before crane has made it
	"$1" registry serve --address 127.0.0.1:0 >"$2" 2>&1 &
	image_registry=$!
	trap stop_registry EXIT
	until address=$(sed -n 's/.*serving on port \([0-9]*\)$/127.0.0.1:\1/p' "$2") && [[ -n $address ]]; do
		kill -0 "$image_registry" 2>/dev/null || die "the registry of crane did not start: $(tail -n 1 "$2")"
		sleep 0.1
	done
}

stop_registry() {
	[[ -z $image_registry ]] || kill "$image_registry" 2>/dev/null || true
	image_registry=''
}

# image_settings ARRAY STAGE sets the array to options for `crane mutate`, made from the instructions in that stage of the
# Dockerfile, or in its last stage if STAGE is empty.
image_settings() {
	local -n into=$1
	local word rest port label
	into=(--annotation "org.opencontainers.image.created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)")
	while read -r word rest; do
		case $word in
		'' | FROM | ARG | COPY) ;;
		ENV) into+=(--env "$rest") ;;
		WORKDIR) into+=(--workdir "$rest") ;;
		USER) into+=(--user "$rest") ;;
		EXPOSE) for port in $rest; do into+=(--exposed-ports "$port/tcp"); done ;;
		ENTRYPOINT | CMD)
			rest=${rest//[\[\]\" ]/}
			into+=("--${word,,}" "$rest")
			;;
		LABEL)
			while read -r label; do
				label=${label//\"/} label=${label//\$STAMP_VERSION/$version} label=${label//\$STAMP_COMMIT/$(git -C "$root" rev-parse HEAD)}
				into+=(--label "$label")
			done < <(grep -oE '[^ =]+="[^"]*"' <<<"$rest")
			;;
		*) die "Dockerfile: expected instructions that scripts/release can apply with crane, found $word" \
			"add it to image_settings in scripts/lib/release-image.sh" ;;
		esac
	done < <(awk -v stage="$2" '/^#/ { next } /^FROM/ { if (found) exit; text = ""; found = (stage != "" && $NF == stage) } { sub(/\\$/, " \\"); if (sub(/\\$/, "")) text = text $0; else text = text $0 "\n" }
		END { printf "%s", text }' "$root/Dockerfile")
}
