"""From bodies to images and from probabilities to bodies, without I/O."""
