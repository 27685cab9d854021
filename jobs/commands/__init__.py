"""The commands of `cnn-image`, a file for each group; they parse and print, others work."""
