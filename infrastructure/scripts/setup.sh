#!/usr/bin/env bash
# Sets up the whole platform in containers, by docker-compose.yml: see usage, and docs/howto/run_with_compose.md.
set -euo pipefail

readonly WAIT_SECONDS=300

usage() {
    cat <<'END'
usage: infrastructure/scripts/setup.sh [--env-only | SERVICE...]

Checks what is needed, makes .env from .env.example with generated passwords, builds
the image, starts everything, and waits until it is migrated and ready.
May be run again at any time: an .env that is there is kept, and only what it lacks
is added.

  --env-only   make .env and stop there
  SERVICE...   start only these and what they need, `api` among them

Environment:
  SSPP_COMPOSE  the compose command, if it is not `docker compose` or `podman-compose`

Exit status: 0 it runs, 1 something is missing or failed, 2 wrong usage.
END
}

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $1"; shift; for line in "$@"; do say "  $line"; done; exit 1; }

# 32 random bytes as 64 hexadecimal digits: nothing in them needs quoting or encoding anywhere.
new_password() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

# A template's lines, with a password after each `…_PASSWORD=` that has none. docker-compose.yml makes the URLs itself: those
# of the example are commented out. Everything is done within this shell, so that no process list shows a password.
fill_in() {
    local line
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
        '#'*) ;;
        *_PASSWORD=) line+=$(new_password) ;;
        DATABASE_URL=*:password@* | REDIS_URL=*:password@* | RQ_REDIS_URL=*:password@* | ELASTICSEARCH_URL=http://127.0.0.1:9200)
            line="#$line" ;;
        esac
        printf '%s\n' "$line"
    done
}

# The variables of .env.example that .env does not name: a newer release may have more passwords.
missing_passwords() {
    local line
    while IFS= read -r line; do
        case $line in
        '#'*) ;;
        *_PASSWORD=) grep -q "^$line" .env || printf '%s\n' "$line" ;;
        esac
    done <.env.example
}

make_environment() (
    umask 077
    local draft=.env.$$
    trap 'rm -f "$draft"' EXIT
    if [ -e .env ]; then
        { fill_in <.env; missing_passwords | fill_in; } >"$draft"
        if cmp -s .env "$draft"; then
            say ".env is complete, and stays as it is"
            return
        fi
        say "added to .env what it lacked"
    else
        fill_in <.env.example >"$draft"
        say "made .env, readable by you alone; keep a copy of it where you keep passwords"
    fi
    mv "$draft" .env
)

find_compose() {
    if [ -n "${SSPP_COMPOSE:-}" ]; then
        read -r -a compose <<<"$SSPP_COMPOSE"
        "${compose[@]}" version >/dev/null 2>&1 || die "SSPP_COMPOSE=$SSPP_COMPOSE does not run"
    elif docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
        docker info >/dev/null 2>&1 || die "Docker does not answer." \
            "Start it, or let your user use it (Linux: the group docker), and run this again."
    elif podman-compose version >/dev/null 2>&1; then
        compose=(podman-compose)
    else
        die "neither \`docker compose\` nor podman-compose is here." \
            "Install Docker with its Compose plugin (2.20 or newer), or podman 4.6 or newer with podman-compose." \
            "Without containers: make up"
    fi
}

# What compose takes a variable for: the environment comes before .env, and that before docker-compose.yml's default.
value_of() {
    local found=${!1:-}
    [ -n "$found" ] || found=$(sed -n "s/^$1=//p" .env | tail -n 1)
    printf '%s' "${found:-$2}"
}

wait_until_ready() {
    local url=$1 deadline=$((SECONDS + WAIT_SECONDS)) answer=
    say "waiting until $url/readyz says ready, at most $WAIT_SECONDS seconds"
    # Without -f: a 503 has a body too, which names the store that is away.
    until answer=$(curl -sS --noproxy '*' --max-time 5 "$url/readyz" 2>/dev/null) && [[ $answer == *'"status":"ready"'* ]]; do
        [ $SECONDS -lt $deadline ] || die "it is not ready after $WAIT_SECONDS seconds: ${answer:-no answer}" \
            "Look at: ${compose[*]} ps" "and at:  ${compose[*]} logs migrate api"
        sleep 1
    done
}

show_next_steps() {
    local url=$1
    cat <<END

SSPP is running.

  API         $url
  docs        $url/docs
  Prometheus  http://127.0.0.1:$(value_of PROMETHEUS_PORT 9090)
  Grafana     http://127.0.0.1:$(value_of GRAFANA_PORT 3000)   admin, and GRAFANA_PASSWORD of .env

Make a tenant and a key, and send an event:

  ${compose[*]} --profile cli run --rm sspp seed
  key=\$(${compose[*]} --profile cli run --rm -T sspp keys create demo --scope ingest --scope read)
  curl -H "Authorization: Bearer \$key" -H "Content-Type: application/json" $url/v1/events \\
    -d '{"event_type": "inquiry", "customer_id": "ada", "data": {"subject": "Quote for twenty seats"}}'

More workers:  ${compose[*]} up -d --scale worker-ingest=3
PgAdmin and RQ's queues:  ${compose[*]} --profile tools up -d
Stop, and keep the data:  ${compose[*]} down
END
}

main() {
    local env_only=no url
    case ${1:-} in
    -h | --help) usage; exit 0 ;;
    --env-only)
        [ $# -eq 1 ] || { usage >&2; exit 2; }
        env_only=yes ;;
    -*) usage >&2; exit 2 ;;
    esac
    cd "$(dirname "${BASH_SOURCE[0]}")/../.."
    [ -e .env.example ] && [ -e docker-compose.yml ] || die "this is no checkout: .env.example or docker-compose.yml is missing"
    if [ $env_only = no ]; then
        find_compose
        command -v curl >/dev/null || die "curl is missing." "Install it, and run this again."
    fi
    make_environment
    [ $env_only = no ] || exit 0

    # What the image says of itself, unless the environment says otherwise.
    export SSPP_VERSION=${SSPP_VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)}
    export SSPP_REVISION=${SSPP_REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
    # By itself: podman-compose does not build what the services that are named only wait for.
    say "building: ${compose[*]} build migrate"
    "${compose[@]}" build migrate || die "the image was not built; the last lines above say why."
    say "starting: ${compose[*]} up -d $*"
    "${compose[@]}" up -d "$@" || die "it did not start; the last lines above say why." \
        "Look at: ${compose[*]} logs migrate"
    url=http://127.0.0.1:$(value_of PORT 8000)
    wait_until_ready "$url"
    show_next_steps "$url"
}

main "$@"
