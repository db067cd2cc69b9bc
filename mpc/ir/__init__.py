"""Programs: types, operations, tracing. Knows nothing of protocols or networks."""
