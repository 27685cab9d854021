"""What runs to completion: the `cnn-image` command line and its steps."""
