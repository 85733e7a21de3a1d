# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# The default flavour: /opt/ikoma/docker-compose.yml.

readonly postgres_image=${POSTGRES_IMAGE:-postgres:18} base_image=${BASE_IMAGE:-python:3.13-slim}
readonly command=/usr/local/bin/ikoma plugin=/usr/local/lib/docker/cli-plugins/docker-compose

install_compose() {
    image=ikoma:$(name_of_sources)
    step "Folders and password of the containers" never_done prepare_containers
    [ ! -e "$root/images.tar.gz" ] || step "Images of the bundle" has_images load_images
    step "PostgreSQL's image, $postgres_image" has_postgres_image pull_postgres_image
    step "IKOMA's image, $image" has_image build_image
    step "docker compose" has_compose install_compose_plugin
    step "$home/docker-compose.yml" never_done write_compose_file
    step "Containers" never_done start_containers
    step "The command ikoma" never_done write_command
}

compose() { docker compose -f "$home/docker-compose.yml" "$@" </dev/null; }

prepare_containers() {
    install -d -m 0711 /var/lib/ikoma/proxy
    [ -d /root/.docker ] || install -d -m 0700 /root/.docker
    keep_setting POSTGRES_PASSWORD "$(random_hex)"
    keep_setting POSTGRES_PORT "$(first_free_port 5432)"
}

first_free_port() {
    local port=$1
    while listens_at "$port"; do port=$((port + 1)); done
    printf '%s' "$port"
}

has_postgres_image() { docker image inspect "$postgres_image" >/dev/null; }
pull_postgres_image() { docker pull -q "$postgres_image" </dev/null; }
has_image() { docker image inspect "$image" >/dev/null; }
has_images() { has_postgres_image && has_image; }
load_images() { docker load -q -i "$root/images.tar.gz"; }
build_image() { sources | docker build -q -t "$image" --build-arg BASE="$base_image" -f deploy/Dockerfile -; }
has_compose() { docker compose version; }

# Where the distribution has no Compose of today, that of IKOMA's image serves the machine too.
install_compose_plugin() {
    install -d "${plugin%/*}"
    # shellcheck disable=SC2016 # the shell in the container fills it in
    docker run --rm --network none --entrypoint sh "$image" -c 'cat "$(command -v docker-compose)"' |
        write_whole "$plugin" 755
    has_compose
}

write_compose_file() {
    sed -e "s|@IMAGE@|$image|" -e "s|@POSTGRES_IMAGE@|$postgres_image|" -e "s|@MEMORY@|$(container_memory_mb)|" \
        -e "s|@POSTGRES_PORT@|$(setting POSTGRES_PORT)|" -e "s|@LISTEN@|$(listen_addresses)|" \
        -e "s|@SOCKET@|$(socket)|" "$root/deploy/docker-compose.yml" | write_whole "$home/docker-compose.yml" 644
    compose config -q
}

# None of the three may take all of the memory: half of it, and on a small machine 512 MB.
container_memory_mb() {
    local half=$(($(memory_mb) / 2))
    printf '%d' $((half > 512 ? half : 512))
}

# Loopback for IKOMA, the bridge for the containers of apps. An older Docker names a bridge's subnet alone; the first
# address in it is the machine's.
listen_addresses() {
    local bridge
    bridge=$(docker network inspect bridge -f '{{range .IPAM.Config}}{{or .Gateway .Subnet}}{{"\n"}}{{end}}' | grep -m 1 '[.]' || true)
    case $bridge in */*) bridge=${bridge%.*}.1 ;; esac
    printf '127.0.0.1%s' "${bridge:+,$bridge}"
}

start_containers() {
    compose up -d --remove-orphans || {
        own_words_compose
        return 1
    }
}

readonly containers=(ikoma-postgres ikoma-proxy ikoma)

health_of() { docker inspect -f '{{.State.Health.Status}}' "$1" 2>&1; }

is_well_compose() {
    local container
    for container in "${containers[@]}"; do [ "$(health_of "$container")" = healthy ] || return 1; done
}

own_words_compose() {
    local container
    for container in "${containers[@]}"; do
        [ "$(health_of "$container")" != healthy ] || continue
        printf '%s is %s:\n' "$container" "$(health_of "$container")"
        docker logs --tail 5 "$container" 2>&1
    done
}

# `ikoma` inside its container, in the same folder where the container has it.
write_command() {
    if [ -e "$command" ] && ! grep -q "docker exec" "$command"; then
        printf '%s is another ikoma and was left alone. This one: docker exec -it ikoma ikoma\n' "$command"
        return
    fi
    write_whole "$command" 755 <<'END'
#!/bin/sh
# IKOMA's command, in its container (install.sh wrote this). It sees files below the folders named here alone.
set -- ikoma ikoma "$@"
case $PWD/ in /srv/apps/* | /opt/ikoma/* | /var/lib/ikoma/* | /var/log/ikoma/* | /var/backups/ikoma/*) set -- -w "$PWD" "$@" ;; esac
if [ -t 0 ] && [ -t 1 ]; then set -- -t "$@"; fi
exec docker exec -i -e IKOMA_ROLE -e NO_COLOR -e TERM "$@"
END
}
