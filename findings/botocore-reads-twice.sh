#!/usr/bin/env bash
# botocore 1.44.5: how often the XML of an S3 listing is read.
#
# Expected: once.
# Seen: twice, whole. S3 may answer some calls with 200 and an error in the body, so before the answer is parsed a handler reads it as
#       XML to look at the root's name alone, for every operation whose answer is no stream, listings among them. (Of the time of a
#       page that is a small part: the times of the keys are read by dateutil, which takes most of it.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q boto3==1.44.5 botocore==1.44.5
cat >"$work/look.py" <<'PYTHON'
import sys
import threading
import time
import xml.etree.ElementTree as etree
from http.server import BaseHTTPRequestHandler, HTTPServer

ENTRY = (
    "<Contents><Key>pictures/{:04}.jpg</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>900</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>bucket</Name><Prefix></Prefix><KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
    + "".join(ENTRY.format(number) for number in range(1000))
    + "</ListBucketResult>"
).encode()


class Listing(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


read = []


class Counted(etree.XMLParser):
    def feed(self, data):
        read.append(len(data))
        return super().feed(data)


etree.XMLParser = Counted
import boto3  # noqa: E402
import botocore.handlers  # noqa: E402

server = HTTPServer(("127.0.0.1", 0), Listing)
threading.Thread(target=server.serve_forever, daemon=True).start()


def client():
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="us-east-1",
        aws_access_key_id="access",
        aws_secret_access_key="secret",
    )


def page_ms(s3):
    least = 1e9
    for _ in range(15):
        began = time.thread_time()
        assert len(s3.list_objects_v2(Bucket="bucket")["Contents"]) == 1000
        least = min(least, (time.thread_time() - began) * 1000)
    return least


usual = client()
assert len(usual.list_objects_v2(Bucket="bucket")["Contents"]) == 1000
times = read.count(len(PAGE))
once = client()
once.meta.events.unregister("before-parse.s3.*", botocore.handlers._handle_200_error)
read.clear()
assert len(once.list_objects_v2(Bucket="bucket")["Contents"]) == 1000
assert read.count(len(PAGE)) == 1
print(f"the page is read {times} times; {page_ms(usual):.0f} ms of CPU, {page_ms(once):.0f} without the handler")
if times != 2:
    sys.exit("CHANGED: it is not read twice")
PYTHON
"$work/venv/bin/python" "$work/look.py"
echo "As seen before."
