"""Annotated crops as they lie somewhere: geometry in nm, what stored values mean, lists of crops."""
