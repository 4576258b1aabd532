"""The documentation site: pages by hand, and what writes the others.

``python -m docs`` gathers everything in ``.site/pages`` and builds ``.site/html`` from it, without
a network; a link that leads nowhere stops it. Needs the extra ``docs``.
"""
