"""HTTP: the server's protocol, requests and routes."""
