# shellcheck shell=bash disable=SC2154,SC2034 # names that install.sh and its other parts set and use
# Whether a bundle is what its SHA256SUMS says, and who signed that: docs/decisions/046-signed-bundles.md.

# The keys that this server trusts: public keys as ssh-keygen makes them, each a file. With one of them there, nothing
# is installed that none of them signed.
readonly trusted=$home/trusted namespace=ikoma-bundle

has_trusted_keys() { [ -n "$(ls -A "$trusted" 2>/dev/null)" ]; }

# judge_sources FOLDER: sets `fault` and `remedy` where it may not be installed, else `verified` to what is known of it.
judge_sources() {
    fault='' verified=''
    remedy=()
    if [ -e "$1/SHA256SUMS" ]; then
        judge_sums "$1"
        [ -n "$fault" ] || judge_signature "$1"
    elif has_trusted_keys; then
        fault="$1 is no bundle, and this server takes signed bundles alone: it has keys in $trusted."
        remedy=("Take a bundle that one of them signed, or remove the keys.")
    fi
}

# Each file must be listed, and be what the list says.
judge_sums() {
    local wrong
    wrong=$(cd "$1" && sha256sum -c --quiet SHA256SUMS 2>/dev/null || true)
    [ -n "$wrong" ] ||
        wrong=$(comm -23 <(list_files "$1") <(sed 's/^[0-9a-f]\{64\}  //' "$1/SHA256SUMS" | sort) | sed 's/$/: not in SHA256SUMS/')
    verified="The bundle is whole: $(wc -l <"$1/SHA256SUMS") files by their checksums."
    [ -z "$wrong" ] || {
        fault="This bundle is not whole: $(head -n 5 <<<"$wrong" | paste -sd '|' | sed 's/|/, /g')."
        remedy=("Fetch it again, compare it, and unpack it anew:" "sha256sum -c $(basename "$1").tar.sha256")
    }
}

list_files() { (cd "$1" && find . ! -type d ! -path ./SHA256SUMS ! -path ./SHA256SUMS.sig -printf '%P\n' | sort); }

judge_signature() {
    local signed=$1/SHA256SUMS said name
    if [ ! -e "$signed.sig" ]; then
        verified+=" Nobody signed it."
        has_trusted_keys || return 0
        fault="Nobody signed this bundle, and this server has keys in $trusted."
        remedy=("Take one that one of them signed.")
    elif ! command -v ssh-keygen >/dev/null; then
        verified+=" It is signed; by whom was not looked at: ssh-keygen is missing."
        has_trusted_keys || return 0
        fault="Who signed this bundle cannot be seen: ssh-keygen is missing."
        remedy=("apt-get install openssh-client")
    elif ! said=$(ssh-keygen -Y check-novalidate -n $namespace -s "$signed.sig" <"$signed" 2>&1); then
        fault="The signature of this bundle is wrong."
        remedy=("Fetch it again from where you trust; do not run it.")
    elif ! has_trusted_keys; then
        verified+=" It is signed by a key that this server does not know, ${said##* }: docs/upgrade.md, Signed bundles."
    elif name=$(find_signer "$signed"); then
        verified+=" It is signed by $trusted/$name, ${said##* }."
    else
        fault="This bundle is signed by ${said##* }, which is none of the keys in $trusted."
        remedy=("Take one that one of them signed, or have the new key there: docs/upgrade.md, Signed bundles.")
    fi
}

# find_signer FILE: the file of the trusted key that signed it.
find_signer() {
    local name
    name=$(ssh-keygen -Y find-principals -f <(list_signers) -s "$1.sig" 2>/dev/null | head -n 1)
    [ -n "$name" ] && ssh-keygen -Y verify -f <(list_signers) -I "$name" -n $namespace -s "$1.sig" <"$1" >/dev/null 2>&1 &&
        printf '%s' "$name"
}

# The trusted keys in the form that ssh-keygen wants, each by the name of its file.
list_signers() {
    local file kind key name
    for file in "$trusted"/*; do
        name=$(basename "$file" | tr -c 'a-zA-Z0-9._\n-' _)
        while read -r kind key _; do
            case $kind in
            *[!a-zA-Z0-9@.-]* | '') ;;
            *) printf '%s namespaces="%s" %s %s\n' "$name" $namespace "$kind" "$key" ;;
            esac
        done <"$file"
    done
}
