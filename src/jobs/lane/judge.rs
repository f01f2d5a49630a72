//! What speaks against performing an effect by now, asked right before it is performed: say it late, say it once. Called by
//! `delivery`.

use super::Judge;
use crate::store::outbox::answers;

/// An answer that a newer one of the same user has overtaken is not told any more, whatever became of the newer one.
#[must_use]
pub fn answers() -> Judge {
    Box::new(|reader, effect, _| {
        let newer = answers::find_overtaking(reader, effect.id)?;
        Ok(newer.map(|id| format!("row {id} has a newer answer of the same user")))
    })
}
