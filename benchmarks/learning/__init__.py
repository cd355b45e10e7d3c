"""Does the model train, which ingredients matter, and how much does a code store?"""
