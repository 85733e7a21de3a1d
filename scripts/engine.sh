# shellcheck shell=bash
# How packages of Debian and Ubuntu are installed, and a Docker Engine with them: for scripts/setup and install.sh, which
# say what `say`, `fail` and `engine_answers` are.

readonly engine_patience=60 # seconds

can_install() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    say "Installing $*"
    refresh_package_lists
    local log
    log=$(mktemp)
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" \
        </dev/null 9<&- >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get could not install $*."; }
    rm -f "$log"
}

refresh_package_lists() {
    [ -z "${lists_are_fresh:-}" ] || return 0
    apt-get update -q </dev/null >/dev/null || say "apt-get update failed; going on with the lists that are here"
    lists_are_fresh=yes
}

install_engine() {
    can_install || fail "Docker Engine is missing, and there is no apt-get to install it: see docs.docker.com/engine/install."
    refresh_package_lists
    local packages=(docker.io) package
    command -v iptables >/dev/null || packages+=(iptables)
    for package in docker-cli docker-buildx; do # part of docker.io, or absent, in older releases
        [ -z "$(apt-cache madison "$package" 2>/dev/null)" ] || packages+=("$package")
    done
    apt_install "${packages[@]}"
}

start_engine() {
    local log=/dev/null
    if [ -d /run/systemd/system ]; then
        say "Starting Docker Engine (systemctl start docker)"
        systemctl start docker || fail "systemctl could not start docker: see journalctl -u docker."
    else
        log=$(mktemp /tmp/dockerd-XXXXXX.log)
        say "Starting Docker Engine (dockerd, log: $log)"
        setsid --fork dockerd </dev/null >"$log" 2>&1 9<&-
    fi
    local waited
    for ((waited = 0; waited < engine_patience * 5; waited++)); do
        ! engine_answers || return 0
        sleep 0.2
    done
    tail -n 15 "$log" >&2
    fail "Docker Engine did not answer within $engine_patience s. Inside an unprivileged container it cannot run."
}
