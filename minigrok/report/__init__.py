"""The audit as a page that can be forwarded: one HTML file without network, or Markdown.

`page` fills the two templates from audit.json; `texts` holds formulas, code and notes; `figure` draws what runs say;
`contradictions` puts the paper's own numbers beside each other.
"""
