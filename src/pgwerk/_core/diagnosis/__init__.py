"""What is wrong or slow: from facts to findings, without I/O.

Each function judges one thing and returns one finding or several. A threshold has its reason beside it. The facts are
read by `_async/diagnosing.py`, so that a new check is a statement there and a function here.
"""
