"""The exercises: what a student's file begins with, and the laws that its answer must obey.

Each module has START, the text of the file to fill in; SUFFIX, the ending of its name; and `check`, which takes the
names that the file defines (or, for an answer that is no Python, its path) and yields findings.
"""
