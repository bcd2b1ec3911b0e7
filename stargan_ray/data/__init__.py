"""From a published layout to the decoded batch of a step; imports nothing of the rooms above."""
