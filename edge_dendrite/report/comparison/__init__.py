"""A baseline beside what is new: what differs, and for a build server whether it got worse by more than is allowed."""
