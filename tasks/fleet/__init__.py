"""What workers tell of themselves, and what operators read and change."""
