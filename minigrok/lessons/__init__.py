"""Twelve lessons that check themselves: texts, exercises, and the pages and scripts that are made of them."""
