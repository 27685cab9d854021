"""Where own pictures lie: a folder, an archive, a bucket, a manifest that lists them."""
