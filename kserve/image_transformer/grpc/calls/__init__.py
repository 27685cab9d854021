"""gRPC over HTTP/2: heads, messages and statuses, calls, and the connections that they come by."""
