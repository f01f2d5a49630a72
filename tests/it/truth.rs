//! What the tables say is what happened, also where events are late, doubled, lost or strange.

mod bodies;
mod grace;
mod one_second;
mod refunds;
