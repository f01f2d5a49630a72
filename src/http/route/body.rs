//! Bodies of requests as types, which say what each field means and may be. They are never made: a request is read field
//! by field, so that an error names the field at fault. What is read and what is described come from one list of names.
//! Used by the handlers that take a body.

/// A body: the names of its fields.
pub(crate) trait RequestBody {
    /// In the order in which an error lists them.
    const FIELDS: &'static [&'static str];
}

/// A body and its names, from one list. `null` counts as not given, so whatever may be left out is an `Option`.
macro_rules! body {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(schemars::JsonSchema)]
        $(#[$meta])*
        #[schemars(deny_unknown_fields)]
        #[allow(dead_code)] // it describes
        $vis struct $name { $($(#[$doc])* $field: $type,)* }

        impl $crate::http::route::body::RequestBody for $name {
            const FIELDS: &'static [&'static str] = &[$($crate::http::route::body::plain(stringify!($field)),)*];
        }
    };
}
pub(crate) use body;

/// The name of a field whose name is a word of the language: `r#type` is `type`.
pub(crate) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Words that a field may have, for its description; it may be null, too.
pub(crate) fn words(words: &[&str]) -> serde_json::Value {
    let words = words.iter().map(|word| serde_json::Value::from(*word));
    words.chain([serde_json::Value::Null]).collect()
}
