"""Others that score pictures by the same graph: `python FILE GRAPH SOURCE OUT PROCESSES`.

Each is run by a Python of its own. SOURCE is a folder, a Parquet with the columns `image` (bytes) and
`name`, or an `s3://` prefix, whose server and credentials are in AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and AWS_REGION. OUT becomes a folder of Parquet files with the columns `image` (the
end of the name is enough) and `probabilities`. Nothing of the product is imported but the graph: what
stands here is what its own documentation tells to write.
"""
