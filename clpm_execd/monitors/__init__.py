"""Reference monitors of control loops, each from its paper, as baselines and as examples of how to use the data.

Every number is the paper's, or stands with its reason. They import nothing of the plant that they judge.
"""
