"""How measurements are timed, recorded, summarized and rendered."""
