#!/usr/bin/env bash
# Installs IKOMA on this machine: Debian 12 and 13, Ubuntu 22.04 and 24.04.
# It looks first whether anything stands in the way, and changes nothing then.
# Killed anywhere and run again, it goes on where it was.
#
#   sudo ./install.sh [--embedded] [--yes] [--set NAME=VALUE]...
#     (neither)         three containers, of /opt/ikoma/docker-compose.yml:
#                       PostgreSQL, proxy and IKOMA
#     --embedded        a program under /opt/ikoma/versions and a systemd unit;
#                       IKOMA starts its PostgreSQL itself
#     --yes             ask nothing
#     --set NAME=VALUE  a setting for /opt/ikoma/.env, such as HTTP_PORT=3001
#                       or ACME_EMAIL=me@example.org
#   sudo ./install.sh --check
#     only look what stands in the way
#   sudo ./install.sh --upgrade [--to FILE|FOLDER|VERSION] [--check] [--yes]
#                               [--set NAME=VALUE]...
#     bring another version here, as `ikoma upgrade` does; docs/upgrade.md
#   sudo ./install.sh --upgrade --back
#     return to the former version
#   sudo ./install.sh --upgrade --postgres [--check|--back|--forget] [--yes]
#     bring PostgreSQL's data to the major version that IKOMA brings
#   sudo ./install.sh --uninstall
#     stop and remove IKOMA; apps go on, all data stays
#   sudo ./install.sh --uninstall --purge
#     remove the apps and all data as well, once the machine's name is typed
set -euo pipefail
umask 022 # users of their own must be able to read their programs
export LC_ALL=C
root=$(cd "$(dirname "$0")" && pwd)
readonly root home=/opt/ikoma
PATH=$PATH:/usr/sbin:/sbin

. "$root/scripts/engine.sh"
. "$root/deploy/install/steps.sh"
. "$root/deploy/install/preflight.sh"
. "$root/deploy/install/sources.sh"
. "$root/deploy/install/compose.sh"
. "$root/deploy/install/embedded.sh"
. "$root/deploy/install/upgrade.sh"
. "$root/deploy/install/postgres.sh"
. "$root/deploy/install/bundles.sh"
. "$root/deploy/install/signature.sh"
. "$root/deploy/install/uninstall.sh"

flavour=compose
task=install
unattended='' purge='' only_look='' target='' back='' repaired=''
given=() upgraded=()

main() {
    read_options "$@"
    if [ -n "$only_look" ]; then
        case $task$postgres_asked in
        upgradeyes) upgrade_postgres ;;
        upgrade) upgrade_from_bundle ;;
        *) preflight ;;
        esac
        return
    fi
    [ "$(id -u)" -eq 0 ] || fail "You are not root:" "sudo ./install.sh $*"
    exec 9>/run/ikoma-install.lock
    flock -w 10 9 || fail "Another install.sh is at work."
    [ ! -e "$postgres_journal" ] || repair_postgres
    [ ! -e "$journal" ] || repair_killed
    case $task in
    uninstall) uninstall ;;
    upgrade) upgrade ;;
    install) install_or_upgrade ;;
    esac
}

upgrade() {
    if [ -n "$postgres_asked" ]; then
        upgrade_postgres
    elif [ -n "$back" ]; then
        back_to_former
    elif [ -n "$repaired" ] && [ -z "$target" ]; then
        return
    else
        upgrade_from_bundle
    fi
}

install_or_upgrade() {
    preflight || exit 1
    confirm "Install IKOMA ($flavour) here?"
    install_ikoma
}

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
        --embedded) flavour=embedded ;;
        --check) only_look=yes ;;
        --upgrade) task=upgrade ;;
        --back) back=yes ;;
        --postgres) postgres_asked=yes ;;
        --forget) forget=yes ;;
        --to)
            target=${2:-}
            [ -n "$target" ] || fail "--to takes a bundle, a folder with install.sh, or a version."
            shift
            ;;
        --yes) unattended=yes ;;
        --uninstall) task=uninstall ;;
        --purge) purge=yes ;;
        --set)
            [[ ${2:-} =~ ^[A-Z][A-Z0-9_]*=[^[:space:]]+$ ]] || fail "--set takes NAME=VALUE, without spaces."
            given+=("$2")
            shift
            ;;
        -h | --help)
            sed -n '2,/^set /p' "$0" | sed -n 's/^# \{0,1\}//p'
            exit
            ;;
        *) fail "install.sh does not know '$1': see install.sh --help." ;;
        esac
        shift
    done
    [ -z "$purge" ] || [ "$task" = uninstall ] || fail "--purge goes with --uninstall."
    [ -z "$back$target" ] || [ "$task" = upgrade ] || fail "--to and --back go with --upgrade."
    [ -z "$back" ] || [ -z "$target$only_look" ] || fail "--back goes alone."
    [ -z "$postgres_asked" ] || [ "$task$target" = upgrade ] || fail "--postgres goes with --upgrade, and without --to."
    [ -z "$forget" ] || [ "$postgres_asked$back$only_look" = yes ] || fail "--forget goes with --postgres alone."
}

confirm() {
    [ -z "$unattended" ] || return 0
    [ -t 0 ] || fail "Nobody is there to be asked: add --yes."
    local answer
    read -r -p "$1 [y/N] " answer
    case $answer in y | Y | yes) ;; *) fail "Nothing was changed." ;; esac
}

install_ikoma() {
    local began=$EPOCHREALTIME
    make_log
    step "Folders and users" never_done make_folders
    step "Docker Engine" engine_answers have_engine
    "install_$flavour"
    step "What ikoma upgrade needs" never_done keep_installer
    step "First healthy answer" answers wait_for_answer
    if [ ${#upgraded[@]} -gt 0 ]; then
        say "${upgraded[@]}"
    else
        goodbye "$(seconds_since "$began")"
    fi
}

make_log() {
    install -d -m 0751 /var/log/ikoma
    log=/var/log/ikoma/install.log
    (umask 077 && touch "$log")
    printf '\n--- %s, IKOMA %s, %s\n' "$(date -u +%FT%TZ)" "$(version)" "$flavour" >>"$log"
}

make_folders() {
    install -d -m 0755 /srv/apps "$home"
    install -d -m 0711 /var/lib/ikoma
    install -d -m 0700 /var/backups/ikoma
    have_user ikoma-proxy
    have_user ikoma-postgres
}

have_user() {
    id "$1" >/dev/null 2>&1 || useradd --system --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin --user-group "$1"
}

write_settings() {
    local words
    for words in "${given[@]}"; do put_setting "${words%%=*}" "${words#*=}"; done
}

engine_answers() { command -v docker >/dev/null && timeout 30 docker version >/dev/null 2>&1; }

have_engine() {
    if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then install_engine; fi
    engine_answers || start_engine
}

answers() { serves && [ -s "$home/api-key.txt" ] && "is_well_$flavour"; }

serves() {
    local line
    { exec 5<>"/dev/tcp/127.0.0.1/$(wanted HTTP_PORT 3000)"; } 2>/dev/null || return 1
    printf 'GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n' >&5
    IFS= read -r -t 10 line <&5 2>/dev/null || line=
    exec 5>&-
    [[ $line == *" 200 "* ]]
}

wait_for_answer() {
    local waited
    for ((waited = 0; waited < 600; waited++)); do
        ! answers || return 0
        sleep 0.5
    done
    printf 'IKOMA does not answer after five minutes. Its own words: %s\n' "$("own_words_$flavour")"
    return 1
}

goodbye() {
    cat <<END

✓ IKOMA $(version) is up after $1 s: http://127.0.0.1:$(wanted HTTP_PORT 3000)
  Its key:  $home/api-key.txt (only root can read it)
  The log:  $log

  Next:
    ikoma doctor
    ikoma init hello --template node
    ikoma deploy hello
END
}

main "$@"
