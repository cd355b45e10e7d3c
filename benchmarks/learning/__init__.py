"""Does the model train, what makes it train, and how much does a code hold?"""
