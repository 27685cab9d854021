"""Which parts of a picture carry its class: masks, what they tell, and whose turn it is."""
