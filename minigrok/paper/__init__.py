"""The paper's figures and tables by their numbers, as views of the analyses' results."""
