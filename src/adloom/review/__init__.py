"""Choosing: what people decide about the images of an edition, stored as facts, and the page that they decide on."""
