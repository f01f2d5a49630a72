//! Identifiers that this program makes up itself. A token must never be guessable.
//! Called by `tilld init`, `tilld dev`, and whatever needs a name that nothing else has.

/// The alphabet of base64url (RFC 4648 §5): safe in headers, URLs, shells and TOML.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Six bits each: 258 bits.
const TOKEN_CHARS: usize = 43;
/// 128 bits.
const ID_BYTES: usize = 16;

/// The operating system gave no random bytes. Nothing to do but to try again.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}; try again")]
pub struct RandomError(String);

/// A secret that nobody can guess: `prefix` and 43 random characters.
///
/// # Errors
/// The operating system has no randomness to give.
pub(crate) fn random_token(prefix: &str) -> Result<String, RandomError> {
    let mut bytes = [0; TOKEN_CHARS];
    getrandom::fill(&mut bytes).map_err(|error| RandomError(error.to_string()))?;
    let characters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte % 64)]));
    Ok(prefix.chars().chain(characters).collect())
}

/// An identifier that no other file, process or run makes: 32 hex digits.
///
/// # Errors
/// The operating system has no randomness to give.
pub(crate) fn random_id() -> Result<String, RandomError> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| RandomError(error.to_string()))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_has_its_prefix_and_43_characters_of_the_alphabet() {
        let token = random_token("tilld_").unwrap();
        let rest = token.strip_prefix("tilld_").unwrap();
        assert_eq!(rest.len(), 43);
        assert!(rest.bytes().all(|byte| ALPHABET.contains(&byte)));
    }

    #[test]
    fn two_tokens_differ() {
        assert_ne!(random_token("").unwrap(), random_token("").unwrap());
    }
}
