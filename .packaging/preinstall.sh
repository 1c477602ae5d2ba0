#!/bin/sh
# Before the files are unpacked. A .deb that is installed again after its removal gets its drop-in back.
set -e
drop_in=/etc/telegraf/telegraf.d/clpm-execd.conf
if [ -e $drop_in.removed ] && [ ! -e $drop_in ]; then
    mv $drop_in.removed $drop_in
fi
