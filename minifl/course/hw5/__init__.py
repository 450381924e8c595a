"""Assignment 5: SCAFFOLD, FedProx, FedYogi and their identities."""
