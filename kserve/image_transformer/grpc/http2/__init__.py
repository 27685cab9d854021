"""HTTP/2 (RFC 9113) as a server speaks it: bytes in, events and bytes out, without any I/O."""
