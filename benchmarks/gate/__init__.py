"""What the gate's rules do to versions whose true difference is known, and to real ones of one recipe."""
