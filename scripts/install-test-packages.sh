#!/bin/sh
# Debian packages that some tests use; without them those tests skip and say so.
#   prometheus               scrapes the real service, evaluates every expression; promtool checks rules and /metrics
#   prometheus-alertmanager  gets the alerts; amtool checks its configuration
#   chromium                 opens the page
#   nginx-light              stands before the service with the example of docker/nginx
set -eu

missing=""
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v prometheus-alertmanager >/dev/null 2>&1 || missing="$missing prometheus-alertmanager"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
PATH="$PATH:/usr/sbin" command -v nginx >/dev/null 2>&1 || missing="$missing nginx-light"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed (tests that need them will skip):$missing" >&2
    exit 0
fi

# Packages of daemons start them when they are installed; only their programs are wanted here.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
