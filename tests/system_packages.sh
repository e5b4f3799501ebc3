#!/bin/sh
# The tests look at pages with Chromium. On Debian or Ubuntu, as root, it is
# installed here; elsewhere this says which tests will be left out.
command -v chromium >/dev/null 2>&1 && exit 0
command -v google-chrome >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "installing chromium"
  # Daemons of packages must not start here: the tests start their own.
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends chromium >/dev/null && exit 0
fi
if [ -n "$CI" ]; then
  echo "chromium is missing and cannot be installed: the tests of the pages cannot run" >&2
  exit 1
fi
echo "chromium is not here: tests that look at pages in a browser will be left out"
