# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# The way back: IKOMA goes, and with --purge the apps and all data too.

readonly kept_folders=(/srv/apps /opt/ikoma /var/lib/ikoma /var/backups/ikoma /var/log/ikoma)

uninstall() {
    if [ -n "$purge" ]; then
        confirm_purge
    else
        confirm "Remove IKOMA? Apps go on without it, and all data stays."
    fi
    remove_compose
    remove_embedded
    if [ -n "$purge" ]; then
        remove_apps
        docker volume rm ikoma-postgres >/dev/null 2>&1 || true
        rm -rf "${kept_folders[@]}"
        say "IKOMA, its apps and all data are gone."
    else
        say "IKOMA is gone. What it kept: ${kept_folders[*]}, the volume ikoma-postgres, and the apps' containers."
        say "To bring it back with all of it; and to remove all of it for good:" \
            "sudo ./install.sh" "sudo ./install.sh --uninstall --purge"
    fi
}

# Not even --yes answers this.
confirm_purge() {
    local answer
    tell '' '' "This removes all apps, their databases and volumes, and all backups on this machine. There is no way back."
    printf "Type the machine's name (%s) to go on: " "$(uname -n)"
    read -r answer || true
    [ "$answer" = "$(uname -n)" ] || fail "That is not its name. Nothing was changed."
}

remove_compose() {
    local file=$home/docker-compose.yml
    [ -e "$file" ] || return 0
    docker compose -f "$file" down --remove-orphans </dev/null
    docker images --format '{{.Repository}}:{{.Tag}}' ikoma | xargs -r docker rmi >/dev/null
    if grep -qs "docker exec" /usr/local/bin/ikoma; then rm -f /usr/local/bin/ikoma; fi
    docker images --format '{{.Repository}}:{{.Tag}}' ikoma-proxy | xargs -r docker rmi >/dev/null
    rm -rf "$home/installer" "$former" "$work" "$journal"
    rm -f "$file" # last: while it is there, all this can be done again
}

remove_embedded() {
    [ -e "$home/current" ] || [ -e "$unit" ] || return 0
    if [ -d /run/systemd/system ]; then
        [ ! -e "$unit" ] || systemctl disable --now ikoma
    elif listens_at "$(wanted HTTP_PORT 3000)"; then
        fail "IKOMA runs, and there is no systemd that could stop it. Stop \`ikoma up\` (Ctrl-C), then run this again."
    fi
    stop_proxy
    rm -f "$unit"
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    if [ "$(readlink /usr/local/bin/ikoma)" = "$home/current/.venv/bin/ikoma" ]; then rm -f /usr/local/bin/ikoma; fi
    rm -rf "$home/installer" "$former" "$work" "$journal"
    rm -rf "$home/versions" "$home/current"
}

# It outlives its IKOMA; pid and start are in its file, so that no other process is meant.
stop_proxy() {
    local noted pid
    noted=$(cat /var/lib/ikoma/proxy/pid 2>/dev/null) || return 0
    pid=${noted%@*}
    [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" = "${noted#*@}" ] || return 0
    kill "$pid"
}

# Of each app in /srv/apps what Docker has by the name of its project.
remove_apps() {
    local folder kind label
    for folder in /srv/apps/*/; do
        [ -d "$folder" ] || continue
        label=label=com.docker.compose.project=$(basename "$folder")
        docker ps -aq --filter "$label" | xargs -r docker rm -f -v >/dev/null
        for kind in volume network; do
            docker "$kind" ls -q --filter "$label" | xargs -r docker "$kind" rm >/dev/null
        done
    done
}
