"""How an encoded image becomes the network's input."""
