//! Tables as lists of columns. From one list come the struct, the statement that writes it, its binding and its reading,
//! so that a column is one line and nobody counts places. `table!` is for what is written whole, `columns!` for what one
//! SELECT reads, [`only`] and [`tuple`] for less than that. It must never know what a column means. Called by every
//! file that has SQL.

use rusqlite::types::FromSql;
use rusqlite::{Row, ToSql};

use super::{StoreError, Tx};

/// The cells of one row, read from left to right.
pub(crate) struct Cells<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Cells<'r, 's> {
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
    Cells::of(row).take()
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
/// become one field by a function, which may be the `take` of another such struct.
/// ```text
/// columns! {
///     pub(crate) struct ShownSubscription {
///         subscription: SubscriptionRow = SubscriptionRow::COLUMNS => SubscriptionRow::take,
///         grace_started_at: Option<i64>,
///         customer_deleted: bool = "coalesce(c.deleted, 0)",
///     }
/// }
/// const FIND: &str = select!(ShownSubscription, "FROM stripe_subscriptions … WHERE …");
/// reader.find(FIND, [id], ShownSubscription::read)
/// ```
macro_rules! columns {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty $(= $sql:expr)? $(=> $take:path)?),+ $(,)?
    }) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        $(#[$meta])*
        #[allow(missing_docs)] // the columns' meaning is in the migration
        $vis struct $name {
            $($(#[$doc])* $vis $field: $type,)+
        }

        #[allow(dead_code)] // not everything that is written is read
        impl $name {
            /// What a SELECT names to read it.
            pub(crate) const COLUMNS: &'static str =
                constcat::concat!($(", ", $crate::store::row::columns!(@sql $field $(, $sql)?)),+).split_at(2).1;

            pub(crate) fn take(cells: &mut $crate::store::row::Cells) -> rusqlite::Result<Self> {
                Ok(Self { $($field: $crate::store::row::columns!(@take cells $($take)?),)+ })
            }

            pub(crate) fn read(row: &rusqlite::Row) -> rusqlite::Result<Self> {
                Self::take(&mut $crate::store::row::Cells::of(row))
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
        $crate::store::row::table! {
            @sort { $(#[$meta])* $vis $name $table { $($($value: $kind = $set)+)? } } [] [] [] [] $($columns)+
        }
    };
    (@sort $head:tt [$($key:ident)*] $fixed:tt $plain:tt [$($all:tt)*]
     $(#[$doc:meta])* key $column:ident: $type:ty, $($rest:tt)*) => {
        $crate::store::row::table! {
            @sort $head [$($key)* $column] $fixed $plain [$($all)* { $(#[$doc])* $column: $type }] $($rest)*
        }
    };
    (@sort $head:tt $key:tt [$($fixed:ident)*] $plain:tt [$($all:tt)*]
     $(#[$doc:meta])* fixed $column:ident: $type:ty, $($rest:tt)*) => {
        $crate::store::row::table! {
            @sort $head $key [$($fixed)* $column] $plain [$($all)* { $(#[$doc])* $column: $type }] $($rest)*
        }
    };
    (@sort $head:tt $key:tt $fixed:tt [$($plain:ident)*] [$($all:tt)*]
     $(#[$doc:meta])* $column:ident: $type:ty, $($rest:tt)*) => {
        $crate::store::row::table! {
            @sort $head $key $fixed [$($plain)* $column] [$($all)* { $(#[$doc])* $column: $type }] $($rest)*
        }
    };
    (@sort { $(#[$meta:meta])* $vis:vis $name:ident $table:literal { $($value:ident: $kind:ty = $set:literal)* } }
     [$($key:ident)+] [$($fixed:ident)*] [$plain:ident $($more:ident)*]
     [$({ $(#[$doc:meta])* $column:ident: $type:ty })+]) => {
        $crate::store::row::columns! {
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
                            $crate::store::row::table!(@places $($column)+),
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
                const STATEMENTS: &[&str] = $crate::store::row::table!(@statements USUAL WHOLE $($fixed)*);
                $crate::store::row::put(tx, STATEMENTS, &[$(&self.$column,)+ $(&$value,)*])
            }
        }
    };
    (@places $first:ident $($more:ident)*) => { concat!("?" $(, $crate::store::row::table!(@place $more))*) };
    (@place $column:ident) => { ", ?" };
    (@statements $usual:ident $whole:ident) => { &[$whole] };
    (@statements $usual:ident $whole:ident $($fixed:ident)+) => { &[$usual, $whole] };
}
pub(crate) use table;
