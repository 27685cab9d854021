"""Which picture is in which split, decided once and remembered."""
