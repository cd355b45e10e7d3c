"""What a code is good for: labelled texts, representations of them, and measures of these."""
