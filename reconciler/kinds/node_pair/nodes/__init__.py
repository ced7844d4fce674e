"""What is done on one node of a pair: each module one concern, over the one connection that the node has."""
