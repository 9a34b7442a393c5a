"""Sound that the service fetches itself: sound cards, folders and looped recordings."""
