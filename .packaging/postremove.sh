#!/bin/sh
# After removal. dpkg gives "remove", then "purge"; rpm gives 0.
set -e
drop_in=/etc/telegraf/telegraf.d/clpm-execd.conf
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
case $1 in
remove)
    # Telegraf does not start with a plugin whose program is missing. It reads *.conf only.
    if [ -e $drop_in ]; then
        mv $drop_in $drop_in.removed
    fi
    ;;
purge)
    rm -f $drop_in.removed
    rm -rf /etc/clpm-execd /var/lib/clpm-execd-telegraf /var/lib/clpm-execd /var/lib/private/clpm-execd \
        /var/log/clpm-execd /var/log/private/clpm-execd
    ;;
esac
