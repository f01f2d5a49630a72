//! The event types that can be made, with a line for `tilld trigger --list`: those in the examples of the kinds. Must never
//! guess: an unknown type is refused, and a known one that is spelled nearly like it is named. Called by `event` and by `cli::trigger`.

use std::sync::LazyLock;

use super::TriggerError;
use super::nearest::nearest;
use super::shape;

static EVENT_TYPES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| shape::event_types().collect());

/// `(type, what the event says)`, by kind and then in the order of life.
#[must_use]
pub fn event_types() -> &'static [(&'static str, &'static str)] {
    &EVENT_TYPES
}

/// Those about objects of one kind, in the order of life.
pub fn event_types_of(object: &str) -> impl Iterator<Item = &'static str> {
    event_types().iter().map(|(known, _)| *known).filter(move |known| shape::kind_of(known).object == object)
}

/// The type as the catalog has it.
pub(super) fn known(event_type: &str) -> Result<&'static str, TriggerError> {
    let types = || event_types().iter().map(|(known, _)| *known);
    types().find(|known| *known == event_type).ok_or_else(|| TriggerError::UnknownType {
        event_type: event_type.to_owned(),
        nearest: nearest(event_type, types()),
    })
}
