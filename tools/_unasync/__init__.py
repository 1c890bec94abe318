"""The parts of `tools/unasync_build.py`: what a rule is, the lint, the prose pass, the twins."""
