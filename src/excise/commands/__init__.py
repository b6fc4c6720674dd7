"""What the commands ``kedro stale`` and ``kedro verify`` do; ``excise.cli`` only reads their options."""
