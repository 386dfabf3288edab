#!/usr/bin/env bash
# Prometheus's programs for the tests that need them: prometheus, promtool and prometheus-node-exporter, from the
# packages of Debian or Ubuntu, unpacked into a folder of this checkout. Nothing is installed or started, and nobody
# has to be root: apt gets lists and a cache of its own, and checks the signatures as ever.
#
#   infrastructure/scripts/get_prometheus.sh           # into .tools; does nothing if they are on PATH or there
#
# Exit codes: 0 they can be used, 1 they could not be had; the message says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

programs=(prometheus promtool prometheus-node-exporter)
packages=(prometheus prometheus-node-exporter)
target=$PWD/.tools

die() {
    echo "Prometheus's programs could not be had: $*" >&2
    exit 1
}

PATH=$PATH:$target/usr/bin
if [ "$(command -v "${programs[@]}" | wc -l)" -eq "${#programs[@]}" ]; then
    exit 0
fi
command -v apt-get >/dev/null ||
    die "this is neither Debian nor Ubuntu; install Prometheus and node_exporter, so that they are on PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,packages,unpacked}
# As root apt would fetch as _apt, who may not enter this folder.
chmod 755 "$work"
apt=(apt-get -qq
    -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work"
    -o "Dir::Cache::Archives=$work/archives"
    -o "APT::Sandbox::User=$(id -un)"
    -o Acquire::Languages=none
    -o Acquire::Retries=2
    -o Acquire::http::Timeout=20
    -o Acquire::https::Timeout=20)

echo "getting ${packages[*]}"
"${apt[@]}" update || die "apt-get update failed"
(cd "$work/packages" && "${apt[@]}" download "${packages[@]}") || die "apt-get download failed"
for package in "$work"/packages/*.deb; do
    dpkg-deb --extract "$package" "$work/unpacked"
done
mkdir -p "$target/usr/bin"
(cd "$work/unpacked/usr/bin" && mv "${programs[@]}" "$target/usr/bin/")
"$target/usr/bin/promtool" --version 2>&1 | head -n 1
