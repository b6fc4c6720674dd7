"""Wiring: nodes call the rooms. A stage is a template; `erase_*` put the stages together for a concept."""
