"""Assignment 4: FedAvg, partitions, and the collapse of the one-class client."""
