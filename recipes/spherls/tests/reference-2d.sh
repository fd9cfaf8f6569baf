#!/bin/sh
# Runs upstream's reference calculation of a two-dimensional star, on two processes instead of four.
set -eu

data=/opt/spherls/data
reference=$data/ref_calcs/2DNA

# The table of the equation of state is named by its whole path: upstream's is relative to where it was first run.
sed -e 's,<x0>4</x0>,<x0>2</x0>,' \
    -e "s,<eosFile>[^<]*</eosFile>,<eosFile>$data/eos/eosY240Z002</eosFile>," \
    "$reference/SPHERLS.xml" >SPHERLS.xml
grep -q '<x0>2</x0>' SPHERLS.xml
cp "$reference/$(sed -n 's,.*<startModel>\(.*\)</startModel>.*,\1,p' SPHERLS.xml)" .

mpirun --oversubscribe -np 2 SPHERLS >log 2>&1 || { tail -n 50 log; exit 1; }

tail -n 20 log
sed -n 's/.* at time t=\([^ ]*\) \[s\].*/final time = \1/p' log | tail -n 1
sed -n 's,.*max( (Del T)_t/T ) *=\([^ ]*\).*,final change = \1,p' log | tail -n 1
