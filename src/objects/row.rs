//! The row of a Stripe object, as one list of columns: each has a type and a reader (`field`) that finds its value in the
//! object. To add a column takes its migration, its line in the list, and whoever shows it. It must never read anything but
//! the object and the event that won. Called by the file of each kind.

/// A table of objects. The columns are those of `store::engine::row::table!` with a reader each; livemode, time and id of
/// the event that the row rests on are columns of every table and not in the list. `of` reads the row from an object, `put`
/// writes it. What several columns are read from is found `once`, with the winning state under a name of your choice; such
/// a column's reader is `field::found`.
/// ```text
/// row! {
///     /// A dispute as its newest event has it.
///     pub(crate) struct DisputeRow in "stripe_disputes" {
///         key stripe_dispute_id: String = field::id("id"),
///         amount_cents: i64 = field::integer("amount"),
///         period_start: Option<i64> = field::found(period.0),
///         period_end: Option<i64> = field::found(period.1),
///     } once(winner) { period = object::period(&winner.object)? }
/// }
/// ```
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident in $table:literal { $($columns:tt)+ }
     $(once($winner:ident) { $($found:ident = $find:expr),+ $(,)? })? $(also $also:tt)?) => {
        $crate::objects::row::row! {
            @sort { $(#[$meta])* $vis $name $table [$($winner $($found = $find),+)?] $($also)? } [] [] $($columns)+
        }
    };
    (@sort $head:tt [$($list:tt)*] [$($readers:tt)*]
     $(#[$doc:meta])* key $column:ident: $type:ty = $reader:expr, $($rest:tt)*) => {
        $crate::objects::row::row! {
            @sort $head [$($list)* $(#[$doc])* key $column: $type,] [$($readers)* { $column = $reader }] $($rest)*
        }
    };
    (@sort $head:tt [$($list:tt)*] [$($readers:tt)*]
     $(#[$doc:meta])* fixed $column:ident: $type:ty = $reader:expr, $($rest:tt)*) => {
        $crate::objects::row::row! {
            @sort $head [$($list)* $(#[$doc])* fixed $column: $type,] [$($readers)* { $column = $reader }] $($rest)*
        }
    };
    (@sort $head:tt [$($list:tt)*] [$($readers:tt)*]
     $(#[$doc:meta])* $column:ident: $type:ty = $reader:expr, $($rest:tt)*) => {
        $crate::objects::row::row! {
            @sort $head [$($list)* $(#[$doc])* $column: $type,] [$($readers)* { $column = $reader }] $($rest)*
        }
    };
    (@sort { $(#[$meta:meta])* $vis:vis $name:ident $table:literal [$($winner:ident $($found:ident = $find:expr),+)?]
             $($also:tt)? }
     [$($list:tt)+] [$({ $column:ident = $reader:expr })+]) => {
        $crate::store::engine::row::table! {
            $(#[$meta])*
            $vis struct $name in $table {
                $($list)+
                livemode: bool,
                /// Created of the event it rests on.
                event_created: i64,
                /// That event.
                event_id: String,
            } $(also $also)?
        }

        impl $name {
            /// The row of an object as the event that won shows it.
            fn of(winner: &$crate::objects::WinningState) -> Result<Self, $crate::stripe::object::ObjectError> {
                $(
                    let $winner = winner;
                    $(let $found = $find;)+
                )?
                Ok(Self {
                    $($column: $reader(winner)?,)+
                    livemode: winner.livemode,
                    event_created: winner.created,
                    event_id: winner.event_id.clone().into_owned(),
                })
            }
        }
    };
}
pub(super) use row;
