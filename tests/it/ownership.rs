//! Whose is it: words of every strength, in any order, said and taken back, through the whole program.

mod cases;
mod commands;
mod objects;
mod property;
mod rules;
