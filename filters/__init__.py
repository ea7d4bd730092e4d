"""Filters judge a text, edits change it; compiled measurements over Arrow columns and tables of rules."""
