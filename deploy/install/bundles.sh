# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# `ikoma upgrade`: finds the version that is asked for, sees that it is whole, and has its own install.sh do the rest.

# UPGRADE_URL in /opt/ikoma/.env is where bundles lie, https://…/ikoma-VERSION-MACHINE.tar with .sha256 beside, and the
# newest version's number in `latest`. Without it nothing is ever fetched.
upgrade_from_bundle() {
    local folder place
    [ -n "$(installed)" ] || fail "No IKOMA is installed here:" "sudo ./install.sh"
    folder=$(mktemp -d /var/tmp/ikoma-upgrade-XXXXXX)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$folder'" EXIT
    case $target in
    */* | *.tar) place=$(realpath -- "$target" 2>/dev/null) || fail "There is no $target." ;;
    *)
        place=$target
        [ ! -d "$target" ] || place=$(realpath -- "$target")
        ;;
    esac
    if [[ $place != /* ]]; then
        fetch_bundle "$folder" "$place"
        place=$bundle
    fi
    if [ -f "$place" ]; then
        unpack_bundle "$place" "$folder"
        place=$unpacked
    fi
    judge_sources "$place"
    if [ -n "$fault" ]; then
        tell '✗ ' '  ' "$fault Nothing was changed." >&2
        tell '  → ' '    ' "${remedy[@]}" >&2
        exit 1
    fi
    [ -x "$place/install.sh" ] && [ -e "$place/deploy/install/upgrade.sh" ] ||
        fail "$place has no install.sh that could upgrade: give a bundle, or a checkout of IKOMA."
    local options=()
    [ "$(installed)" = compose ] || options+=(--embedded)
    [ -z "$only_look" ] || options+=(--check)
    [ -z "$unattended" ] || options+=(--yes)
    local words
    for words in "${given[@]}"; do options+=(--set "$words"); done
    exec 9>&- # it is the other's turn
    "$place/install.sh" "${options[@]}"
}

fetch_bundle() {
    local url version=$2
    url=$(setting UPGRADE_URL)
    [ -n "$url" ] || fail "Which version? Nothing is fetched unless UPGRADE_URL in $home/.env says where bundles are. With a file:" \
        "ikoma upgrade --to ikoma-VERSION-$(uname -m).tar"
    fetch() { curl -fsS --proto =https,http --max-time 3600 -o "$2" "$url/$1" || fail "$url/$1 cannot be fetched."; }
    if [ -z "$version" ]; then
        fetch latest "$1/latest"
        version=$(head -n 1 "$1/latest")
    fi
    [[ $version =~ ^[0-9][0-9A-Za-z.+]*$ ]] || fail "'$version' is no version."
    bundle=$1/ikoma-$version-$(uname -m).tar
    say "Fetching ${bundle##*/}"
    fetch "${bundle##*/}" "$bundle"
    fetch "${bundle##*/}.sha256" "$bundle.sha256"
}

unpack_bundle() {
    local file=$1 folder=$2/bundle
    if [ -e "$file.sha256" ]; then
        [ "$(cut -d ' ' -f 1 "$file.sha256")" = "$(sha256sum <"$file" | cut -d ' ' -f 1)" ] ||
            fail "$file is not what $file.sha256 says: fetch it again. Nothing was changed."
    fi
    mkdir "$folder"
    tar -C "$folder" --no-same-owner -xf "$file" 2>/dev/null || fail "$file is no whole bundle: fetch it again. Nothing was changed."
    unpacked=$(echo "$folder"/*)
    [ -s "$unpacked/SHA256SUMS" ] || fail "$file is no whole bundle: it has no SHA256SUMS. Nothing was changed."
}

# What `ikoma upgrade` begins with, also where the checkout is gone.
keep_installer() {
    local place=$home/installer
    [ "$root" != "$place" ] || return 0
    rm -rf "$place.new"
    mkdir -p "$place.new/src/ikoma"
    cp -r "$root/install.sh" "$root/deploy" "$place.new"
    mkdir "$place.new/scripts"
    cp "$root/scripts/engine.sh" "$place.new/scripts"
    cp "$root/src/ikoma/__init__.py" "$place.new/src/ikoma"
    rm -rf "$place"
    mv "$place.new" "$place"
}
