#!/bin/sh
# Thins out the backups that zkpnet-backup.service has made: all of the last two days stay, the first of each day (UTC) for 14 days.
# The service calls it after a good backup only, so that nothing goes while nothing comes.
#
#   zkpnet-thin-backups FOLDER
#
# What counts is the time in a file's name, 20261122T160000Z.zkpbak; files of other names are left alone.
set -eu
cd "${1:?which folder?}"
all_since=$(date -u -d '2 days ago' +%Y%m%d%H%M%S)
daily_since=$(date -u -d '14 days ago' +%Y%m%d)
kept=
# In the order of their names, which is that of their times.
for file in [0-9]*T[0-9]*Z.zkpbak; do
    stamp=${file%Z.zkpbak}
    day=${stamp%T*} time=${stamp#*T}
    case $day$time in
        *[!0-9]*) continue ;;
        ??????????????) ;;
        *) continue ;;
    esac
    if [ "$day$time" -gt "$all_since" ]; then break; fi
    if [ "$day" -lt "$daily_since" ] || [ "$day" = "$kept" ]; then
        rm -- "$file"
    else
        kept=$day
    fi
done
