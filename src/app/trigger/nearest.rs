//! Of some names the one that a wrong one was probably meant to be. Must never name one that is merely the least unlike.
//! Called by `catalog` and `set`.

use strsim::levenshtein;

/// Letters of a name for each that may be wrong.
const LETTERS_PER_MISTAKE: usize = 3;

/// The name that is spelled most like `wrong`, if it is spelled nearly like it.
pub(super) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = wrong.chars().count().div_ceil(LETTERS_PER_MISTAKE);
    let near = names.map(|name| (levenshtein(wrong, name), name)).filter(|(mistakes, _)| *mistakes < most);
    near.min().map(|(_, name)| name)
}
