"""What a corpus says about itself: facts, the card and its pictures, progress."""
