//! Tables as lists of columns. From one list come the struct, the statement that writes it, its binding and its reading,
//! so that a column is one line and nobody counts positions. `table!` is for what is written whole, `columns!` for what one
//! SELECT reads, [`only`] and [`tuple`] for less than that. It must never know what a column means. Called by every
//! file that has SQL.

use rusqlite::types::FromSql;
use rusqlite::{Row, ToSql};

use crate::store::{StoreError, Tx};

/// What reading a cell gives.
pub(crate) type CellResult<T> = rusqlite::Result<T>;

/// The cells of one row, read from left to right.
pub(crate) struct RowReader<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> RowReader<'r, 's> {
    pub(crate) fn of(row: &'r Row<'s>) -> Self {
        Self { row, next: 0 }
    }

    pub(crate) fn take<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let cell = self.row.get(self.next)?;
        self.next += 1;
        Ok(cell)
    }
}

/// Reads a SELECT of one column.
pub(crate) fn only<T: FromSql>(row: &Row) -> rusqlite::Result<T> {
    RowReader::of(row).take()
}

/// Reads a SELECT of a few columns, in their order.
pub(crate) fn tuple<T>(row: &Row) -> rusqlite::Result<T>
where
    T: for<'a> TryFrom<&'a Row<'a>, Error = rusqlite::Error>,
{
    T::try_from(row)
}

/// Runs the first of these statements that writes something.
pub(crate) fn put(tx: &Tx, statements: &[&str], params: &[&dyn ToSql]) -> Result<(), StoreError> {
    for sql in statements {
        if tx.execute(sql, params)? > 0 {
            break;
        }
    }
    Ok(())
}

/// A struct that one SELECT reads. Each field is the column of its name, or what an SQL expression gives; several cells
/// become one field by a function, which may be the `take` of another such struct. What is read `besides`, by another
/// statement, begins empty.
/// ```text
/// columns! {
///     pub(crate) struct FoundSubscription {
///         subscription: SubscriptionRow = SubscriptionRow::COLUMNS => SubscriptionRow::take,
///         grace_started_at: Option<i64>,
///         customer_deleted: bool = "coalesce(c.deleted, 0)",
///     }
/// }
/// const FIND: &str = select!(FoundSubscription, "FROM stripe_subscriptions … WHERE …");
/// reader.find(FIND, [id], FoundSubscription::read)
/// ```
macro_rules! columns {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty $(= $sql:expr)? $(=> $take:path)?),+ $(,)?
    } $(besides { $($(#[$note:meta])* $more:ident: $kind:ty),+ $(,)? })?) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        $(#[$meta])*
        #[allow(missing_docs)] // the columns' meaning is in the migration
        $vis struct $name {
            $($(#[$doc])* $vis $field: $type,)+
            $($($(#[$note])* $vis $more: $kind,)+)?
        }

        #[allow(dead_code)] // not everything that is written is read
        impl $name {
            /// What a SELECT names to read it.
            pub(crate) const COLUMNS: &'static str =
                constcat::concat!($(", ", $crate::store::engine::row::columns!(@sql $field $(, $sql)?)),+).split_at(2).1;

            pub(crate) fn take(cells: &mut $crate::store::engine::row::RowReader) -> rusqlite::Result<Self> {
                Ok(Self {
                    $($field: $crate::store::engine::row::columns!(@take cells $($take)?),)+
                    $($($more: Default::default(),)+)?
                })
            }

            pub(crate) fn read(row: &rusqlite::Row) -> rusqlite::Result<Self> {
                Self::take(&mut $crate::store::engine::row::RowReader::of(row))
            }
        }
    };
    (@sql $field:ident) => { stringify!($field) };
    (@sql $field:ident, $sql:expr) => { $sql };
    (@take $cells:ident) => { $cells.take()? };
    (@take $cells:ident $take:path) => { $take($cells)? };
}
pub(crate) use columns;

/// The statement that reads a struct of `columns!` or `table!`.
macro_rules! select {
    ($name:ident, $from:expr) => {
        constcat::concat!("SELECT ", $name::COLUMNS, " ", $from)
    };
}
pub(crate) use select;

/// A struct that is written whole into its table, by `put`, and read like one of `columns!`. What a column is marked with:
///
/// - `key`: the row that is replaced is the one with the same value here.
/// - `fixed`: it has an index and practically never changes. SQLite rewrites an index entry whenever a statement sets its
///   column, even to the value that it has; so these are set only when one of them did change, by a second statement.
///
/// Columns that others write are not in the list, unless replacing the row changes them: `also` says how, by a value that
/// `put` takes besides.
/// ```text
/// table! {
///     pub(crate) struct ItemRow in "items" {
///         key item_id: String,
///         fixed customer_id: String,
///         quantity: Option<i64>,
///     } also { named: bool = "last_named = CASE WHEN ? THEN NULL ELSE last_named END" }
/// }
/// ```
macro_rules! table {
    ($(#[$meta:meta])* $vis:vis struct $name:ident in $table:literal { $($columns:tt)+ }
     $(also { $($value:ident: $kind:ty = $set:literal),+ $(,)? })?) => {
        $crate::store::engine::row::table! {
            @sort { $(#[$meta])* $vis $name $table { $($($value: $kind = $set)+)? } } [] [] [] [] $($columns)+
        }
    };
    (@sort $head:tt [$($key:ident)*] $fixed:tt $plain:tt [$($all:tt)*]
     $(#[$doc:meta])* key $column:ident: $type:ty, $($rest:tt)*) => {
        $crate::store::engine::row::table! {
            @sort $head [$($key)* $column] $fixed $plain [$($all)* { $(#[$doc])* $column: $type }] $($rest)*
        }
    };
    (@sort $head:tt $key:tt [$($fixed:ident)*] $plain:tt [$($all:tt)*]
     $(#[$doc:meta])* fixed $column:ident: $type:ty, $($rest:tt)*) => {
        $crate::store::engine::row::table! {
            @sort $head $key [$($fixed)* $column] $plain [$($all)* { $(#[$doc])* $column: $type }] $($rest)*
        }
    };
    (@sort $head:tt $key:tt $fixed:tt [$($plain:ident)*] [$($all:tt)*]
     $(#[$doc:meta])* $column:ident: $type:ty, $($rest:tt)*) => {
        $crate::store::engine::row::table! {
            @sort $head $key $fixed [$($plain)* $column] [$($all)* { $(#[$doc])* $column: $type }] $($rest)*
        }
    };
    (@sort { $(#[$meta:meta])* $vis:vis $name:ident $table:literal { $($value:ident: $kind:ty = $set:literal)* } }
     [$($key:ident)+] [$($fixed:ident)*] [$plain:ident $($more:ident)*]
     [$({ $(#[$doc:meta])* $column:ident: $type:ty })+]) => {
        $crate::store::engine::row::columns! {
            $(#[$meta])*
            $vis struct $name {
                $($(#[$doc])* $column: $type = concat!($table, ".", stringify!($column)),)+
            }
        }

        impl $name {
            /// Replaces the row.
            $vis fn put(&self, tx: &$crate::store::Tx $(, $value: $kind)*) -> Result<(), $crate::store::StoreError> {
                /// All but what has to come after `DO UPDATE SET`.
                macro_rules! insert {
                    () => {
                        concat!(
                            "INSERT INTO ", $table, " (", stringify!($($column),+), ") VALUES (",
                            $crate::store::engine::row::table!(@places $($column)+),
                            ") ON CONFLICT (", stringify!($($key),+), ") DO UPDATE SET ",
                            stringify!($plain), " = excluded.", stringify!($plain),
                            $(", ", stringify!($more), " = excluded.", stringify!($more),)*
                            $(", ", $set,)*
                        )
                    };
                }
                #[allow(dead_code)] // where no column is fixed
                const USUAL: &str = concat!(insert!(), " WHERE 1" $(, " AND ", stringify!($fixed), " IS excluded.", stringify!($fixed))*);
                const WHOLE: &str = concat!(insert!() $(, ", ", stringify!($fixed), " = excluded.", stringify!($fixed))*);
                const STATEMENTS: &[&str] = $crate::store::engine::row::table!(@statements USUAL WHOLE $($fixed)*);
                $crate::store::engine::row::put(tx, STATEMENTS, &[$(&self.$column,)+ $(&$value,)*])
            }
        }
    };
    (@places $first:ident $($more:ident)*) => { concat!("?" $(, $crate::store::engine::row::table!(@place $more))*) };
    (@place $column:ident) => { ", ?" };
    (@statements $usual:ident $whole:ident) => { &[$whole] };
    (@statements $usual:ident $whole:ident $($fixed:ident)+) => { &[$usual, $whole] };
}
pub(crate) use table;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rusqlite::Connection;

    use super::{only, tuple};
    use crate::store::Tx;

    table! {
        struct PartRow in "parts" {
            key part_id: String,
            fixed owner_id: Option<String>,
            fixed made: Option<i64>,
            size: i64,
            color: Option<String>,
        } also { named: bool = "last_named = CASE WHEN ? THEN NULL ELSE last_named END" }
    }

    columns! {
        struct PartSize {
            twice: i64 = "2 * size",
            part: PartRow = PartRow::COLUMNS => PartRow::take,
            color: Option<String>,
        } besides {
            notes: Vec<String>,
        }
    }

    fn parts() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE parts (id INTEGER PRIMARY KEY, part_id TEXT UNIQUE, owner_id TEXT, made INTEGER,
            size INTEGER, color TEXT, last_named TEXT, user_id TEXT)";
        connection.execute(table, []).unwrap();
        connection
    }

    fn part(owner_id: Option<&str>, size: i64) -> PartRow {
        let (part_id, owner_id) = ("p1".to_owned(), owner_id.map(str::to_owned));
        PartRow { part_id, owner_id, made: Some(7), size, color: None }
    }

    #[test]
    fn a_row_comes_back_as_it_was_put_whatever_stands_around_it() {
        let connection = parts();
        let tx = Tx::new(&connection, &connection);
        part(Some("o1"), 3).put(&tx, false).unwrap();
        let found = tx.get(select!(PartSize, "FROM parts"), [], PartSize::read).unwrap();
        let expected = PartSize { twice: 6, part: part(Some("o1"), 3), color: None, notes: Vec::new() };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_fixed_column_is_set_when_it_did_change_and_the_others_with_it() {
        let connection = parts();
        let tx = Tx::new(&connection, &connection);
        for (owner, size) in [(None, 1), (None, 2), (Some("o1"), 3), (Some("o1"), 4), (Some("o2"), 5), (None, 6)] {
            part(owner, size).put(&tx, false).unwrap();
            let found = tx.list(select!(PartRow, "FROM parts"), [], PartRow::read).unwrap();
            assert_eq!(found, [part(owner, size)]);
        }
    }

    #[test]
    fn an_ordinary_update_sets_no_fixed_column() {
        let connection = parts();
        let tx = Tx::new(&connection, &connection);
        part(Some("o1"), 1).put(&tx, false).unwrap();
        // It fires when a statement names the column, whether or not the value is another one: as an index is rewritten.
        let guard = "CREATE TRIGGER kept BEFORE UPDATE OF owner_id, made ON parts
            BEGIN SELECT raise(ABORT, 'a fixed column was set'); END";
        connection.execute(guard, []).unwrap();
        part(Some("o1"), 2).put(&tx, false).unwrap();
        assert!(part(Some("o2"), 3).put(&tx, false).is_err());
    }

    #[test]
    fn what_others_wrote_stays_unless_put_says_otherwise() {
        let connection = parts();
        let tx = Tx::new(&connection, &connection);
        part(None, 1).put(&tx, false).unwrap();
        connection.execute("UPDATE parts SET last_named = 'n', user_id = 'u'", []).unwrap();
        let kept = || tx.get("SELECT last_named, user_id FROM parts", [], tuple::<(Option<String>, String)>).unwrap();
        part(None, 2).put(&tx, false).unwrap();
        assert_eq!(kept(), (Some("n".to_owned()), "u".to_owned()));
        part(Some("o1"), 3).put(&tx, true).unwrap();
        assert_eq!(kept(), (None, "u".to_owned()));
        assert_eq!(tx.get("SELECT count(*) FROM parts", [], only::<i64>).unwrap(), 1);
    }
}
