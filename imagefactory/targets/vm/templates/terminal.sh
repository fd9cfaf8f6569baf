#!/bin/sh
# A terminal that says what this machine is for, and with which commands to begin.
title=$(head -n 1 /etc/imagefactory/welcome)
exec xfce4-terminal --title "$title" --geometry 90x24 --execute sh -c 'cat /etc/imagefactory/welcome; exec bash'
