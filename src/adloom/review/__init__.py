"""Choosing: what people decide about the images of an edition, kept as facts, and the page that they decide on."""
