"""Assignment 1: linear layer, softmax cross-entropy, and a gradient checker."""
