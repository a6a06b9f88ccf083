"""What workers announce about themselves, and what operators read and change."""
