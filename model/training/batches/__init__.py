"""What a step of a training is fed: images in a drawn order, changed at random."""
