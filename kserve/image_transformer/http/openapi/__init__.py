"""What the HTTP interface is: `table.py` has a row for every route, `document.py` makes OpenAPI of it."""
