"""Energy of embeddings, heads, neurons and logits in the characters of each task, beside random bases."""
