"""The page that people decide on: ``review.html`` next to the images, with data, style and scripts inside.

Opened from a disk, decisions stay in the browser and are exported as ``review.csv``; served by ``adloom review
--serve`` they are saved as they are made. The page contacts only its own origin, and its policy allows the one script
and the one style sheet by their hashes. What comes from a campaign (prompts, variables, reasons) is in a block of JSON
without any ``<``, and is only ever shown as text.
"""

from adloom.gallery.chooser.render import Live, Page, render

__all__ = ["Live", "Page", "render"]
