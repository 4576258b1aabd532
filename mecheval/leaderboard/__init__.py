"""Tables made from reports: which reports count, one row per model, and how it is written."""
