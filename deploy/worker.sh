#!/bin/sh
# A load process that comes back. Each scenario of a run is a load of its own and ends its workers
# with it, so the next one needs them again: `sh deploy/worker.sh --master-host HOST` runs until it
# is stopped. One such loop is one load process: start one for each core.
running=
trap 'kill $running 2>/dev/null; wait $running; exit 0' TERM INT
while :; do
  locust -f scenarios --worker "$@" &
  running=$!
  wait $running
  # Not at once: without a master, or with a wrong option, it would burn a core.
  sleep 1 &
  running=$!
  wait $running
done
