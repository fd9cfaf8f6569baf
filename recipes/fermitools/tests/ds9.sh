#!/bin/sh
# ds9 shows a map with one bright source on a virtual screen, and saves what it shows.
set -eu

python /tests/ds9-map.py write
xvfb-run --auto-servernum --server-args='-screen 0 1024x768x24' \
    ds9 map.fits -scale minmax -zoom to fit -colorbar no -export png map.png -exit
python /tests/ds9-map.py read
