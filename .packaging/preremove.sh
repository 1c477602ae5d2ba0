#!/bin/sh
# Before removal or upgrade: dpkg gives "remove" or "upgrade"; rpm gives 0, or 1 after the next version is installed.
set -e
case $1 in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl disable --now clpm-execd.service || true
    fi
    ;;
upgrade) ;;
*) exit 0 ;;
esac
find /usr/lib/clpm-execd -name __pycache__ -prune -exec rm -rf {} +
