"""Models of public threads with an accepted answer, each with its healthy twin."""
