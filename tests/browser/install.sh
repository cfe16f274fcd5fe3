#!/bin/sh
# What tests/test_browser.py needs beside Python: Debian's chromium with its driver, and axe-core
# from npm, which lands in tests/browser/.cache. Without these the tests are skipped.
set -eu
cd "$(dirname "$0")"
if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update
    $as_root apt-get install -y --no-install-recommends chromium chromium-driver
fi
mkdir -p .cache
if [ ! -s .cache/axe.min.js ]; then
    packed=$(npm pack --silent --pack-destination .cache 'axe-core@^4.10')
    tar -xzf ".cache/$packed" -C .cache --strip-components=1 package/axe.min.js
    rm ".cache/$packed"
fi
