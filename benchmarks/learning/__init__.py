"""Section ``learning``: learned laws of implicit layers against black boxes on strain histories."""
