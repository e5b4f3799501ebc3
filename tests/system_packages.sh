#!/bin/sh
# What some tests need beside Python. On Debian or Ubuntu, as root, it is installed here; elsewhere
# this says which tests will be left out.
missing() {
  command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || echo chromium
  { command -v promtool && command -v prometheus; } >/dev/null 2>&1 || echo prometheus
  { command -v amtool && { command -v prometheus-alertmanager || command -v alertmanager; }; } \
    >/dev/null 2>&1 || echo prometheus-alertmanager
  command -v openssl >/dev/null 2>&1 || echo openssl
  command -v ip >/dev/null 2>&1 || echo iproute2
}
# What a package cannot give: making network namespaces takes root.
rights() {
  [ "$(id -u)" = 0 ] || echo "not root here: the tests of master and workers apart will be left out"
}

rights
wanted=$(missing)
[ -z "$wanted" ] && exit 0

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "installing" $wanted
  # Daemons of packages must not start here: the tests start their own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends $wanted >/dev/null
  wanted=$(missing)
  [ -z "$wanted" ] && exit 0
fi

for package in $wanted; do
  case $package in
    chromium) tests="tests that look at pages in a browser" ;;
    prometheus) tests="tests that check metrics and rules with promtool" ;;
    openssl) tests="tests of failures under load that need a certificate" ;;
    iproute2) tests="tests of master and workers apart, in network namespaces" ;;
    *) tests="tests that send alerts through Alertmanager" ;;
  esac
  if [ -n "$CI" ]; then
    echo "$package is missing and cannot be installed: the $tests cannot run" >&2
  else
    echo "$package is not here: the $tests will be left out"
  fi
done
[ -z "$CI" ]
