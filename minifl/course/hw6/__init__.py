"""Assignment 6: Propositions 1 and 2 and Theorem 1 by experiment."""
