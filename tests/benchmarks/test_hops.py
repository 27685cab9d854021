"""A request's time, split by what the transformer and Triton have counted."""

import pytest

from benchmarks.cluster.hops import add, between

OURS = """
# TYPE cnn_image_request_seconds histogram
cnn_image_request_seconds_bucket{route="/predict",le="+Inf"} 10
cnn_image_request_seconds_count{route="/predict"} 10
cnn_image_request_seconds_sum{route="/predict"} 0.020
# TYPE cnn_image_decode_seconds histogram
cnn_image_decode_seconds_bucket{le="+Inf"} 10
cnn_image_decode_seconds_count 10
cnn_image_decode_seconds_sum 0.001
# TYPE cnn_image_triton_seconds histogram
cnn_image_triton_seconds_bucket{le="+Inf"} 10
cnn_image_triton_seconds_count 10
cnn_image_triton_seconds_sum 0.015
"""
TRITONS = """
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="cnn-image",version="1"} 10
nv_inference_request_success{model="cnn-image-filters",version="1"} 77
# TYPE nv_inference_request_duration_us counter
nv_inference_request_duration_us{model="cnn-image",version="1"} 9000
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="cnn-image",version="1"} 4000
"""
COUNTED = (
    "request_seconds_sum",
    "request_seconds_count",
    "triton_seconds_sum",
    "triton_seconds_count",
    "decode_seconds_sum",
    "nv_inference_request_success",
    "nv_inference_request_duration_us",
    "nv_inference_compute_infer_duration_us",
)


def test_the_parts_of_a_request_add_up_to_what_the_client_waited() -> None:
    before = dict.fromkeys(COUNTED, 0.0)
    after = dict(before)
    add(after, OURS)
    add(after, TRITONS)
    hops = between(before, after, client_ms=2.5)
    assert hops.outside == pytest.approx(0.5)
    assert hops.decoding == pytest.approx(0.1)
    assert hops.transformer == pytest.approx(0.4)
    assert hops.between == pytest.approx(0.6)
    assert hops.triton == pytest.approx(0.5)
    assert hops.network == pytest.approx(0.4)
