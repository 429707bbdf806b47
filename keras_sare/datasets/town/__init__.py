"""A rendered town to train and test on where no dataset is at hand: `town.render_town`."""
