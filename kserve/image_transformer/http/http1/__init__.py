"""HTTP/1.1 on a connection: heads, bodies and answers, ahead of any route."""
