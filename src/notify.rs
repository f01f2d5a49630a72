//! What is announced, to people and to the application: the notices and what each says (`notice`), and the types of the
//! application's events (`event_type`). It must never send anything.

pub mod event_type;
pub mod notice;
pub mod text;
