#!/bin/sh
# After installation or upgrade: dpkg gives "configure", rpm the number of versions that are installed. dpkg also gives
# "triggered", when Telegraf has been installed or Python upgraded.
set -e
case $1 in configure | triggered | [12]) ;; *) exit 0 ;; esac

# The checkpoint of the plugin under Telegraf. The service has a folder of its own, which systemd makes.
if getent passwd telegraf >/dev/null && getent group telegraf >/dev/null; then
    install -d -o telegraf -g telegraf -m 0700 /var/lib/clpm-execd-telegraf
fi

# Neither Telegraf's user nor the service can write byte code, and without it each start would compile.
python3 -I -m compileall -q /usr/lib/clpm-execd || true
if [ "$1" = triggered ]; then
    exit 0
fi

# The service reads its token from here.
[ -e /etc/clpm-execd/token ] || install -m 0600 /dev/null /etc/clpm-execd/token

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    systemctl try-restart clpm-execd.service || true
fi
echo "clpm-execd: Telegraf runs this version after: systemctl reload telegraf"
