# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# Looks at the machine, changes nothing, and tells everything at once: what stands in the way, and what is worth knowing.

readonly least_memory_mb=900 least_disk_mb=4000 least_api=1.41
obstacles=0

preflight() {
    if [ "$(id -u)" -ne 0 ]; then obstacle "You are not root." "sudo ./install.sh"; fi
    check_system
    check_bundle
    check_size
    check_earlier
    check_upgrade
    check_ports
    check_time
    check_names
    check_docker
    check_networks
    if [ "$flavour" = embedded ] && [ ! -d /run/systemd/system ]; then
        note "There is no systemd here: IKOMA is installed, and you start it." "$home/current/.venv/bin/ikoma up"
    fi
    if [ "$obstacles" -gt 0 ]; then
        printf '\n✗ %s in the way; nothing was changed.\n' "$obstacles thing(s)"
        return 1
    fi
    printf '✓ Nothing is in the way\n'
}

# obstacle WHAT REMEDY [COMMAND]...; note WHAT REMEDY [COMMAND]...
obstacle() { obstacles=$((obstacles + 1)); tell '✗ ' '  ' "$1"; tell '  → ' '    ' "${@:2}"; }
note() { tell '! ' '  ' "$1"; tell '  → ' '    ' "${@:2}"; }

check_system() {
    local name release
    name=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null | tr -d '"')
    release=$(sed -n 's/^VERSION_ID=//p' /etc/os-release 2>/dev/null | tr -d '"')
    case $name:$release in
    debian:12 | debian:13 | ubuntu:22.04 | ubuntu:24.04) ;;
    debian:* | ubuntu:*) note "$name $release was not tried." "Tried are Debian 12 and 13, Ubuntu 22.04 and 24.04." ;;
    *) obstacle "This is ${name:-an unknown system} $release." "Use Debian 12 or 13, or Ubuntu 22.04 or 24.04." ;;
    esac
    case $(uname -m) in
    x86_64 | aarch64) ;;
    *) obstacle "The processor is $(uname -m)." "Use a machine with x86_64 or aarch64." ;;
    esac
}

# A bundle says what its files must be, and who says so; a checkout does not.
check_bundle() {
    judge_sources "$root"
    if [ -n "$fault" ]; then
        obstacle "$fault" "${remedy[@]}"
    elif [ -n "$verified" ]; then
        say "$verified"
    fi
}

memory_mb() { printf '%d' $(($(getconf _PHYS_PAGES) * $(getconf PAGE_SIZE) / 1048576)); }

check_size() {
    local free
    [ "$(memory_mb)" -ge "$least_memory_mb" ] ||
        obstacle "There are $(memory_mb) MB of memory." "Give the machine 1 GB or more."
    for place in /var/lib /srv; do
        free=$(df -Pm "$place" | awk 'NR == 2 { print $4 }')
        [ "${free:-0}" -ge "$least_disk_mb" ] ||
            obstacle "$place has ${free:-0} MB free." "Make room for $least_disk_mb MB:" "docker system df" "apt-get clean"
    done
}

# Which flavour is installed here: compose, embedded, or nothing.
installed() {
    if [ -e "$home/docker-compose.yml" ]; then
        echo compose
    elif [ -e "$home/current" ]; then
        echo embedded
    fi
}

check_earlier() {
    local there
    there=$(installed)
    if [ -n "$there" ] && [ "$there" != "$flavour" ]; then
        obstacle "An IKOMA of the other kind ($there) is installed." \
            "Keep it by the first of these, or remove it, without its data, by the second:" \
            "sudo ./install.sh$(option_of "$there")" "sudo ./install.sh --uninstall"
    elif [ "$flavour" = compose ] && [ -d /var/lib/ikoma/postgres ]; then
        obstacle "/var/lib/ikoma/postgres holds the databases of an embedded IKOMA, which this flavour does not use." \
            "sudo ./install.sh --embedded"
    elif [ "$flavour" = embedded ] && [ -n "$(volume_there)" ]; then
        obstacle "The volume ikoma-postgres holds databases, which this flavour does not use." "sudo ./install.sh"
    fi
}

option_of() { [ "$1" != embedded ] || printf ' --embedded'; }

volume_there() { timeout 20 docker volume ls -q --filter name=^ikoma-postgres\$ 2>/dev/null || true; }

# Ports that something listens at, from the kernel's own list: ss may be missing.
listens_at() {
    local wanted
    wanted=$(printf ':%04X$' "$1")
    awk -v wanted="$wanted" '$4 == "0A" && $2 ~ wanted { found = 1 } END { exit !found }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

check_ports() {
    [ -z "$(installed)" ] || return 0 # they are its own
    local name port
    for name in PROXY_HTTP_PORT=80 PROXY_HTTPS_PORT=443 HTTP_PORT=3000; do
        port=$(wanted "${name%=*}" "${name#*=}")
        if listens_at "$port"; then
            obstacle "Something listens at port $port." \
                "Stop it, or give IKOMA another by --set ${name%=*}=PORT. See what it is:" "ss -ltnp 'sport = :$port'"
        fi
    done
}

check_time() {
    local now made
    now=$(date +%s) made=$(stat -c %Y "$root/install.sh")
    [ "$now" -ge $((made - 86400)) ] ||
        obstacle "The clock says $(date -u +%F), which is before this IKOMA was made." "timedatectl set-ntp true"
}

check_names() {
    timeout 5 getent hosts letsencrypt.org >/dev/null 2>&1 ||
        note "Names are not resolved here: nothing can be fetched, and no certificate be had." \
            "Look at /etc/resolv.conf: its nameserver must answer."
}

check_docker() {
    local place api words
    case ${DOCKER_HOST:-unix:///} in
    unix:///*) ;;
    *) obstacle "DOCKER_HOST is $DOCKER_HOST, another machine." "unset DOCKER_HOST" ;;
    esac
    place=$(command -v docker) || return 0 # it will be installed
    case $(readlink -f "$place") in
    */snap/* | */snap) obstacle "Docker is the one from snap, which sees only some folders." \
        "Remove it, and install.sh installs the distribution's:" "snap remove docker" ;;
    esac
    if ! api=$(timeout 30 docker version -f '{{.Server.APIVersion}}' 2>/dev/null); then
        [ ! -S "$(socket)" ] || obstacle "Docker does not answer." "Restart it, and see what it says:" \
            "systemctl restart docker" "journalctl -u docker"
        return 0
    fi
    [ "$(printf '%s\n' "$least_api" "$api" | sort -V | head -n 1)" = "$least_api" ] ||
        obstacle "Docker is too old (API $api)." "Upgrade it to 20.10 or newer (API $least_api)."
    words=$(timeout 60 docker info -f '{{.SecurityOptions}}' 2>/dev/null || true)
    case $words in
    *rootless*) obstacle "Docker runs rootless: it can give apps neither low ports nor the machine's folders." \
        "Let install.sh use the machine's own Docker:" "unset DOCKER_HOST" ;;
    esac
}

socket() { local place=${DOCKER_HOST:-unix:///var/run/docker.sock}; printf '%s' "${place#unix://}"; }

# Docker gives networks addresses of 172.17 to 172.31 and of 192.168. Routes of the machine itself into 172.17, its first
# network, cannot be told from those of Docker.
check_networks() {
    local card destination mask rest
    while read -r card destination _ _ _ _ _ mask rest; do
        case $card in Iface | docker0 | br-* | lo) continue ;; esac
        [ "$destination" != 00000000 ] || continue
        destination=$((16#${destination:6:2}${destination:4:2}${destination:2:2}${destination:0:2}))
        mask=$((16#${mask:6:2}${mask:4:2}${mask:2:2}${mask:0:2}))
        if [ $((0xAC110000 & mask)) -eq $destination ] || [ $((destination & 0xFFFF0000)) -eq $((0xAC110000)) ]; then
            obstacle "The machine's network at $card has addresses that Docker gives out (172.17.0.0/16)." \
                "Have this in /etc/docker/daemon.json, then restart Docker:" \
                '{"bip": "10.210.0.1/24",' \
                ' "default-address-pools": [{"base": "10.211.0.0/16", "size": 24}]}' \
                "systemctl restart docker"
        fi
    done </proc/net/route
}
