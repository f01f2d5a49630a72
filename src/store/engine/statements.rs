//! Prepared statements, kept. rusqlite's cache finds a statement by hashing its text, takes it out and puts it back, at
//! every use; with some thirty statements an event that is a fifth of the writer's time. The writer's own are found by
//! the address of their text instead, which for a constant is always the same. Called by `engine`.

use std::cell::RefCell;
use std::collections::HashMap;

use rusqlite::{Connection, Statement};

/// Statements kept at most; more than the program has constants.
const KEPT: usize = 256;

/// What is done with a statement.
type StatementRun<'r> = &'r mut dyn FnMut(&mut Statement) -> rusqlite::Result<()>;

/// Gives prepared statements.
pub(crate) trait Prepare {
    /// Has `run` use the statement of that text.
    fn with(&self, sql: &str, run: StatementRun) -> rusqlite::Result<()>;
}

/// For connections that go from hand to hand.
impl Prepare for Connection {
    fn with(&self, sql: &str, run: StatementRun) -> rusqlite::Result<()> {
        run(&mut *self.prepare_cached(sql)?)
    }
}

/// For a connection that stays where it is.
pub(crate) struct Statements<'c> {
    connection: &'c Connection,
    kept: RefCell<HashMap<usize, KeptStatement<'c>>>,
}

struct KeptStatement<'c> {
    /// A text that was made and dropped may have left its place to another one.
    sql: String,
    statement: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(crate) fn of(connection: &'c Connection) -> Self {
        Self { connection, kept: RefCell::default() }
    }

    fn prepare(&self, sql: &str) -> rusqlite::Result<KeptStatement<'c>> {
        Ok(KeptStatement { sql: sql.to_owned(), statement: self.connection.prepare(sql)? })
    }
}

impl Prepare for Statements<'_> {
    fn with(&self, sql: &str, run: StatementRun) -> rusqlite::Result<()> {
        let place = sql.as_ptr().addr();
        let found = self.kept.borrow_mut().remove(&place).filter(|kept| kept.sql == sql);
        let mut kept = match found {
            Some(kept) => kept,
            None => self.prepare(sql)?,
        };
        let outcome = run(&mut kept.statement);
        let mut all = self.kept.borrow_mut();
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(place, kept);
        outcome
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(statements: &Statements, sql: &str) -> i64 {
        let mut answer = 0;
        let mut run = |statement: &mut Statement| {
            answer = statement.query_row([], crate::store::engine::row::only)?;
            Ok(())
        };
        statements.with(sql, &mut run).unwrap();
        answer
    }

    #[test]
    fn a_text_at_the_place_of_another_is_not_taken_for_it() {
        let connection = Connection::open_in_memory().unwrap();
        let statements = Statements::of(&connection);
        let mut text = String::from("SELECT 1");
        assert_eq!(answer(&statements, &text), 1);
        text.replace_range(7..8, "2");
        assert_eq!(answer(&statements, &text), 2);
        assert_eq!(answer(&statements, &text), 2);
        assert_eq!(statements.kept.borrow().len(), 1);
    }

    #[test]
    fn texts_that_are_made_for_one_use_do_not_pile_up() {
        let connection = Connection::open_in_memory().unwrap();
        let statements = Statements::of(&connection);
        let texts: Vec<String> = (0..2 * KEPT).map(|number| format!("SELECT {number}")).collect();
        for (number, text) in (0..).zip(&texts) {
            assert_eq!(answer(&statements, text), number);
        }
        assert!(statements.kept.borrow().len() <= KEPT);
    }
}
