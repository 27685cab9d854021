#!/usr/bin/env bash
# Triton 2.51 (nvidia-pytriton 0.7.0): which spelling of an IPv6 address its HTTP server understands.
#
# Expected: `--http-address=::` (or `[::]`) listens on all addresses, or the server refuses to start.
# Seen: it starts, says "Started HTTPService at :::PORT", and listens on 255.255.255.255, which nobody can reach. The
#       spelling that works is libevhtp's own, `ipv6:[::]`; it listens on IPv6 alone, so one Triton's HTTP is never on both
#       families. Its gRPC server reads `[::]`, and listens on both.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0
triton=$work/venv/lib/python3.11/site-packages/pytriton/tritonserver
mkdir "$work/models"
port=18940

listens() { # what the HTTP port listens on, as hexadecimal addresses of /proc/net/tcp and tcp6
    awk -v port="$(printf '%04X' $port)" '$4 == "0A" && $2 ~ ":" port "$" {split($2, part, ":"); print part[1]}' \
        /proc/net/tcp /proc/net/tcp6
}
try() { # ADDRESS: starts Triton, prints where it listens
    : >"$work/log"
    LD_LIBRARY_PATH=$triton/external_libs "$triton/bin/tritonserver" --model-repository="$work/models" \
        --model-control-mode=explicit --http-address="$1" --http-port=$port --allow-grpc=false --allow-metrics=false \
        >>"$work/log" 2>&1 &
    server=$!
    until grep -q "Started HTTPService" "$work/log"; do
        kill -0 "$server" 2>/dev/null || { cat "$work/log"; echo "Triton did not start with $1"; exit 1; }
        read -rt 0.2 <> <(:) || true
    done
    listens
    kill "$server"
    wait "$server" || true
    server=
}

plain=$(try "::")
own=$(try "ipv6:[::]")
echo "--http-address=::         listens on $plain"
echo "--http-address=ipv6:[::]  listens on $own"
[[ $plain == FFFFFFFF ]] || { echo "CHANGED: :: is understood now"; exit 1; }
[[ $own == 00000000000000000000000000000000 ]] || { echo "CHANGED: ipv6:[::] listens elsewhere"; exit 1; }
echo "As seen before."
