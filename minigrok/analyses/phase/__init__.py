"""The phase diagram over weight decay."""
