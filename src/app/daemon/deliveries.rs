//! Starts the lanes of delivery that the configuration asks for: one for each endpoint, and one for mail. It must never
//! deliver itself. Called by `daemon`; [`sender`] and [`mailing`] also by `cli::notify`.

use crate::app::config::Config;
use crate::base::thread::Stop;
use crate::base::verdict::FailureVerdict;
use crate::jobs::findings;
use crate::jobs::lane::{self, DeliveryLane, Judge, LaneKind};
use crate::notify::NotifyContext;
use crate::notify::attempt::{DeliveryAttempt, DeliveryOutcome, MAIL};
use crate::notify::endpoints::target::AllowedTargets;
use crate::notify::endpoints::webhook::{self, WebhookSender, WebhookSigning};
use crate::notify::endpoints::{self, EndpointLane, EndpointSettings};
use crate::notify::mail::{MailError, Mailer};
use crate::notify::notice::NoticeMail;
use crate::notify::resync;
use crate::notify::settings::NotifyBasis;
use crate::notify::settings::Subscriber;
use crate::store::outbox::OutboxEffect;
use crate::store::{Store, StoreError};

use super::DaemonError;
use super::flows::Flows;

/// Stripe's events for an application on this machine, signed as Stripe signs.
pub(crate) struct Forward {
    /// The URL of the application.
    pub(crate) url: String,
    /// The secret that signs them.
    pub(crate) secret: String,
    /// Called after each attempt.
    pub(crate) told: Box<dyn Fn(&ForwardTargets) + Send>,
}

/// An attempt to forward an event.
pub(crate) struct ForwardTargets<'a> {
    /// Stripe's event.
    pub(crate) event: &'a str,
    /// Its outcome.
    pub(crate) outcome: &'a DeliveryOutcome,
    /// When it was made, unix milliseconds.
    pub(crate) at_ms: i64,
}

impl Forward {
    /// It gets every event of Stripe's.
    pub(super) fn subscriber(&self) -> Subscriber {
        Subscriber { url: self.url.clone(), events: vec!["stripe.*".to_owned()] }
    }

    fn lane(self, store: &Store) -> DeliveryLane {
        let sender = WebhookSender::new(&self.url, WebhookSigning::Stripe(self.secret), AllowedTargets::Loopback);
        let attempt: DeliveryAttempt = Box::new(move |effect: &OutboxEffect, now_ms| {
            let outcome = sender.send(effect, now_ms);
            let event = webhook::original(&effect.payload).unwrap_or_default();
            (self.told)(&ForwardTargets { event, outcome: &outcome, at_ms: now_ms });
            outcome
        });
        DeliveryLane::new(store.clone(), &self.url, LaneKind::None, attempt)
    }
}

/// Sends to an endpoint.
#[must_use]
pub(crate) fn sender(webhook: &EndpointSettings) -> WebhookSender {
    let allowed = AllowedTargets::of(&webhook.url, webhook.allow_private);
    WebhookSender::new(&webhook.url, WebhookSigning::Standard(webhook.keys()), allowed)
}

fn lane(webhook: &EndpointSettings, config: &Config, store: &Store) -> DeliveryLane {
    let books = LaneKind::Endpoint(EndpointLane {
        url: webhook.url.clone(),
        fingerprint: endpoints::fingerprint(&webhook.keys(), &webhook.events, webhook.allow_private),
        operator: config.notices.operator.clone().filter(|_| config.notices.mail),
    });
    let sender = sender(webhook);
    DeliveryLane::new(store.clone(), &webhook.url, books, Box::new(move |effect, now_ms| sender.send(effect, now_ms)))
        .with_judge(lane::skip_overtaken_answers())
}

fn tell_waiting(store: &Store, config: &Config, forward: Option<&Forward>) -> Result<(), StoreError> {
    let forwarded = forward.map(|forward| endpoints::origin(&forward.url));
    let waiting = store.read(|reader| findings::waiting_for_nobody(reader, &config.notices))?;
    for (target, count) in waiting.iter().filter(|(to, _)| Some(to) != forwarded.as_ref()) {
        log::warn!(
            count, target;
            "rows of the outbox wait for a target that is not configured: put it back into the configuration, or run `tilld outbox resync URL` for the endpoint that replaces it and discard the rows (`tilld outbox list --status pending`)"
        );
    }
    Ok(())
}

/// Sends the current entitlements to endpoints that were away. What fails is tried again at the next start.
fn bring_up_to_date(store: &Store, context: &NotifyContext, (url, now_ms): (&str, i64), stop: &Stop) {
    let origin = endpoints::origin(url);
    match resync::resync(store, context, (url, now_ms), Some(stop)) {
        Ok(count) => log::info!(count, endpoint = origin; "endpoint was away and gets the current entitlements"),
        Err(error) => {
            log::warn!(endpoint = origin; "endpoint was away and does not get all current entitlements: {error}")
        }
    }
}

/// Stops a mail whose content is no longer true.
#[must_use]
pub fn mail_judge(context: NotifyContext) -> Judge {
    Box::new(move |reader, effect, now_ms| {
        // A mail that cannot be read is refused at delivery, with the reason.
        let Ok(mail) = serde_json::from_str::<NoticeMail>(&effect.payload) else { return Ok(None) };
        mail.notice.reason_to_skip(reader, effect.id, &effect.dedupe_key, NotifyBasis::of(&context, now_ms))
    })
}

/// Performs one mail at a time.
#[must_use]
pub(crate) fn mailing(mailer: Mailer) -> DeliveryAttempt {
    Box::new(move |effect, _| {
        let Ok(payload) = serde_json::from_str(&effect.payload) else {
            return DeliveryOutcome::Refused("its payload is not JSON".to_owned());
        };
        match mailer.send(&payload, &effect.dedupe_key) {
            Ok(sent) => DeliveryOutcome::Done(Some(sent.answer)),
            Err(error @ MailError::NoAddress) => DeliveryOutcome::Skipped(error.to_string()),
            Err(error) => match error.verdict() {
                FailureVerdict::Retry => DeliveryOutcome::TryAgain { why: error.to_string(), after_s: None },
                FailureVerdict::GiveUp => DeliveryOutcome::Refused(error.to_string()),
                FailureVerdict::Wait => DeliveryOutcome::NotTried,
            },
        }
    })
}

/// The mailer, whether or not mail is wanted; `None` where no sender or no mail server is named.
///
/// # Errors
/// When it cannot be made from the configuration.
pub(crate) fn mailer(config: &Config) -> Result<Option<Mailer>, MailError> {
    config.mail.clone().map(Mailer::new).transpose()
}

/// Starts the configured lanes, after the deliveries of a process that died were put back.
pub(super) fn start(
    (config, forward): (&Config, Option<Forward>),
    store: &Store,
    now_ms: i64,
    flows: &mut Flows,
) -> Result<(), DaemonError> {
    let webhooks = &config.endpoints;
    if webhooks.len() > lane::MAX_ENDPOINTS {
        return Err(DaemonError::TooManyEndpoints(webhooks.len()));
    }
    let context = super::context(config);
    let notify = context.notices.clone();
    store.write(move |tx| resync::note_absent(tx, &notify))?;
    let returning = resync::list_returning(store, &context.notices)?;
    tell_waiting(store, config, forward.as_ref())?;
    let mut lanes: Vec<(&'static str, DeliveryLane)> =
        webhooks.iter().map(|webhook| ("webhook", lane(webhook, config, store))).collect();
    if config.notices.mail
        && let Some(mailer) = mailer(config)?
    {
        let mailing = mailing(mailer.stopped_by(flows.stop().clone()));
        let lane = DeliveryLane::new(store.clone(), MAIL, LaneKind::Mail, mailing);
        lanes.push(("mail", lane.with_judge(mail_judge(context.clone()))));
    }
    lanes.extend(forward.map(|forward| ("forward", forward.lane(store))));
    if !lanes.is_empty() {
        let (rescued, spent) = store.write(move |tx| lane::rescue(tx, now_ms))?;
        if rescued > 0 {
            log::info!(count = rescued; "deliveries that were interrupted are repeated");
        }
        for id in spent {
            log::error!(id; "a mail failed: tilld ended in the middle of every attempt");
        }
    }
    for (name, lane) in lanes {
        lane.prepare()?;
        let (store, context) = (store.clone(), context.clone());
        let away = returning.iter().find(|url| lane.target() == url.as_str()).cloned();
        flows.spawn_waiting(name, move |around| {
            if let Some(url) = away {
                bring_up_to_date(&store, &context, (&url, around.clock.now_ms()), around.stop);
            }
            lane.run(around);
        })?;
    }
    Ok(())
}
