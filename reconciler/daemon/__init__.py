"""The daemon: watches the specs, works through the queue, heals drift, shows the page."""
