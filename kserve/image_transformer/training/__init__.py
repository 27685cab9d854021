"""POST /train."""
