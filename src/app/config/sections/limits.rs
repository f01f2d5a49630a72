//! `[limits]`: what a client may demand of the listeners. Called by `sections`.

use std::time::Duration;

use crate::app::config::keys::{Section, number};
use crate::app::config::reader::ConfigReader;
use crate::http::door::{DoorLimits, HeadRules, IDLE_TIMEOUT};

pub(super) const LIMITS: Section = Section::once(
    "limits",
    "What a client may demand of the listeners, so that none can take all memory or all threads.",
    &[
        number("limits.body_bytes", 1_048_576, (1000, 67_108_864))
            .about("Bytes ({range}) of a body; large events have some hundred thousand."),
        number("limits.head_bytes", 16_384, (1000, 1_048_576))
            .about("Bytes ({range}) of request line and headers together."),
        number("limits.connections", 512, (1, 65_536)).about("Connections ({range}) at once, for each listener."),
        number("limits.buffered_bytes", 8_388_608, (65_536, 1_073_741_824)).about(
            "Bytes ({range}) that all bodies longer than 32 KiB together may take while they arrive, for each listener. A body \
             that finds no room waits, and gets 503 after request_timeout_s. A single body of body_bytes always has room.",
        ),
        number("limits.request_timeout_s", 10, (1, 600))
            .about("Seconds ({range}) in which a request must have been sent completely."),
    ],
);

pub(super) fn read(reader: &mut ConfigReader<'_>) -> DoorLimits {
    let (body_bytes, head_bytes) = (reader.number("limits.body_bytes"), reader.number("limits.head_bytes"));
    DoorLimits {
        rules: HeadRules { head_bytes, body_bytes, length_required: false },
        connections: reader.number("limits.connections"),
        request_timeout: Duration::from_secs(reader.number("limits.request_timeout_s")),
        idle_timeout: IDLE_TIMEOUT,
        buffered_bytes: reader.number("limits.buffered_bytes"),
    }
}
