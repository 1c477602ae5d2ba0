"""Previews, reports and scores for people to look at: as HTML pages, as images and in the terminal.

Plotting libraries come with the extra `plots` and are imported when something is drawn. The room may import the plant,
records, identification, evaluation, state, score and the ground floor.
"""
