//! The story with the real program, killed.
