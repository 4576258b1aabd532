"""What figures share: pages and panels, words for captions, reports of one task by model."""
