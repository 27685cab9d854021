#!/usr/bin/env bash
# Debian 12's prometheus 2.42.0+ds: whether it can find targets in Kubernetes.
#
# Expected: as upstream's program of that version, which has kubernetes_sd_configs.
# Seen: the package is built without it: "field kubernetes_sd_configs not found in type config.ScrapeConfig". So it cannot
#       run what the Prometheus Operator or any chart configures; promtool's rule tests work.
# Needs Debian 12 and its package lists (`apt-get update`); installs nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get download -qq prometheus
dpkg-deb -x prometheus_*.deb root
cat >kubernetes.yml <<'YAML'
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{role: pod}]
YAML
cat >static.yml <<'YAML'
scrape_configs:
  - job_name: one
    static_configs: [{targets: ["127.0.0.1:9090"]}]
YAML
root/usr/bin/promtool --version 2>&1 | head -n 1
root/usr/bin/promtool check config static.yml >/dev/null
said=$(root/usr/bin/promtool check config kubernetes.yml 2>&1 || true)
echo "$said" | tail -n 2
[[ $said == *"field kubernetes_sd_configs not found"* ]] || { echo "CHANGED: it is understood now"; exit 1; }
echo "As seen before."
