"""The page people look at: ``gallery.html`` next to the manifest, made from plan and ledger like the manifest itself.

An edition of up to about 400 wanted images is one page; a larger one continues in ``gallery-2.html``,
``gallery-3.html`` …, each with links to the one before and after. A row is never cut. Pages are plain HTML: no scripts,
no address outside the edition, relative links only, so they work from a disk, a web server and a bucket alike. Nothing
in them depends on when or how often they were written. A page that a smaller plan no longer fills is replaced by a link
to the first one: a store has no delete.

``thumbs/<job>/<stem>.jpg`` shows ``assets/<job>/<stem>.<ext>`` with at most 480 pixels on the longer side. It is
created with its image, once, and never changed. An image without one is shown in full.
"""

from adloom.gallery.write import write_gallery

__all__ = ["write_gallery"]
