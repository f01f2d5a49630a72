//! The lessons of others, by their number in the design notes.
