"""The accepted formats, a file each: a walk over the bytes makes the header, then come the pixels."""
