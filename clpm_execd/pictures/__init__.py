"""What people look at: previews, reports and score cards, as pages, as pictures and in the terminal.

Plotting libraries come with the extra `plots` and are imported when something is drawn.
"""
