//! `tilld user link` and `unlink`: the operator says whose a customer or a subscription is; one at a time, or a whole file of
//! them for a business that is older than tilld. With `stripe.api_key` each is read from Stripe first. It must never link the
//! first half of a file whose second half cannot be read. Called by `user`.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::app::cli::{CommandError, database, outward, table};
use crate::app::config::{Config, Flags};
use crate::app::daemon;
use crate::app::logging;
use crate::notify;
use crate::notify::NotifyContext;
use crate::objects::kinds;
use crate::objects::links::{self, LinkResult, LinkStatement, LinkTarget};
use crate::objects::reading::ApiObject;
use crate::outward::sync::{SyncError, SyncTools};
use crate::store::{Store, StoreError};
use crate::stripe::form::FormBody;
use crate::stripe::object::is_user_id;

/// How many faults of a file are printed; a file of another format has thousands.
const MAX_FAULTS: usize = 20;

/// What to link to whom.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkArguments {
    /// The application's id of the user
    #[arg(value_name = "USER_ID", required_unless_present = "from", requires = "object")]
    id: Option<String>,
    /// The customer (cus_…) or the subscription (sub_…) that is this user's
    #[arg(value_name = "STRIPE_ID")]
    object: Option<String>,
    /// Link every line of a CSV file: user id, Stripe id; a first line with the names of the columns is skipped
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "object"])]
    from: Option<PathBuf>,
    /// Print what would be linked, and link nothing
    #[arg(long)]
    dry_run: bool,
    /// Link it even if it was linked to another user
    #[arg(long)]
    force: bool,
    /// Do not look the ids up at Stripe, even if stripe.api_key is set
    #[arg(long)]
    offline: bool,
    /// Print one JSON object for each line
    #[arg(long)]
    json: bool,
}

/// What to unlink from whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Unlink {
    /// The application's id of the user
    #[arg(value_name = "USER_ID")]
    id: String,
    /// The customer (cus_…) or the subscription (sub_…) that is not, or no longer, this user's
    #[arg(value_name = "STRIPE_ID")]
    object: String,
}

/// One link that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WantedLink {
    user_id: String,
    kind: LinkTarget,
    object: String,
}

/// The result for one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LinkOutcome {
    Linked,
    Already,
    Taken(String),
    Deleted,
    Unknown,
    Failed(String),
}

impl LinkOutcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Already => "already_linked",
            Self::Taken(_) => "taken",
            Self::Deleted => "deleted",
            Self::Unknown => "unknown",
            Self::Failed(_) => "failed",
        }
    }

    /// Why it was not linked, and what to do; nothing where it was.
    fn problem(&self) -> Option<String> {
        match self {
            Self::Linked | Self::Already => None,
            Self::Taken(other) => Some(format!("it is linked to user {other:?}: --force links it all the same")),
            Self::Deleted => Some("it was deleted at Stripe".to_owned()),
            Self::Unknown => Some("Stripe does not know this id in the mode of stripe.api_key".to_owned()),
            Self::Failed(error) => Some(error.clone()),
        }
    }
}

fn wanted(user_id: &str, object: &str) -> Result<WantedLink, String> {
    let kind = match object.split_once('_') {
        Some(("cus", _)) => LinkTarget::Customer,
        Some(("sub", _)) => LinkTarget::Subscription,
        _ => {
            return Err(format!(
                "{object:?} is not a valid id: write that of a customer (cus_…) or a subscription (sub_…)"
            ));
        }
    };
    if !is_user_id(user_id) {
        return Err(format!(
            "{user_id:?} is not a valid user id: write 1 to 255 characters, without control characters"
        ));
    }
    Ok(WantedLink { user_id: user_id.to_owned(), kind, object: object.to_owned() })
}

/// All lines of a file, or every fault in it.
fn lines(path: &Path) -> Result<Vec<WantedLink>, CommandError> {
    let unreadable = |error: csv::Error| CommandError::failed(format!("cannot read {}: {error}", path.display()));
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(unreadable)?;
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, csv::Position::line);
        let (user_id, object) = (record.get(0).unwrap_or_default(), record.get(1).unwrap_or_default());
        let is_head = line == 1 && !object.starts_with("cus_") && !object.starts_with("sub_");
        match wanted(user_id, object) {
            Ok(one) => found.push(one),
            Err(_) if is_head || (user_id.is_empty() && object.is_empty()) => {}
            Err(fault) => faults.push(format!("{}:{line}: {fault}", path.display())),
        }
    }
    if faults.is_empty() {
        return Ok(found);
    }
    let count = faults.len();
    faults.truncate(MAX_FAULTS);
    if count > MAX_FAULTS {
        faults.push(format!("and {} more", count - MAX_FAULTS));
    }
    faults.push("nothing was linked; each line has a user id and a Stripe id, as in alice,cus_123".to_owned());
    Err(CommandError::wrong_use(faults.join("\n")))
}

/// Links, and prints the result for each.
///
/// # Errors
/// When something could not be linked, or the database cannot be used.
pub(crate) fn link(arguments: &LinkArguments, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    let wanted = match (&arguments.from, &arguments.id, &arguments.object) {
        (Some(path), _, _) => lines(path)?,
        (None, Some(id), Some(object)) => vec![wanted(id, object).map_err(CommandError::wrong_use)?],
        _ => {
            return Err(CommandError::wrong_use(
                "give a user id and the id of a customer or subscription, or --from FILE",
            ));
        }
    };
    let client = match config.stripe.client.is_some() && !arguments.offline {
        true => Some(outward::client(&config)?),
        false => None,
    };
    logging::start(&config);
    let outcomes = database::with_store(&config, |store| {
        let outside = client.map(|client| outward::means(&config, store, client));
        let linker = Linker { store, config: &config, means: outside.as_ref().map(|(means, _)| means), arguments };
        linker.all(&wanted)
    })?;
    print(&wanted, &outcomes, arguments, out)
}

/// What linking needs.
struct Linker<'a> {
    store: &'a Store,
    config: &'a Config,
    means: Option<&'a SyncTools>,
    arguments: &'a LinkArguments,
}

impl Linker<'_> {
    fn all(&self, wanted: &[WantedLink]) -> Result<Vec<LinkOutcome>, CommandError> {
        let context = daemon::context(self.config);
        let mut outcomes = Vec::with_capacity(wanted.len());
        let mut before: HashMap<&str, &str> = HashMap::new();
        for one in wanted {
            let outcome = match before.get(one.object.as_str()) {
                // By then an earlier line would have been linked.
                Some(other) if self.arguments.dry_run && *other == one.user_id => LinkOutcome::Already,
                Some(other) if self.arguments.dry_run && !self.arguments.force => {
                    LinkOutcome::Taken((*other).to_owned())
                }
                _ => self.one(one, &context)?,
            };
            if outcome == LinkOutcome::Linked {
                before.insert(&one.object, &one.user_id);
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    fn one(&self, wanted: &WantedLink, context: &NotifyContext) -> Result<LinkOutcome, CommandError> {
        if let Some(means) = self.means
            && let Some(outcome) = look_at(means, wanted, self.arguments.dry_run)?
        {
            return Ok(outcome);
        }
        let (force, dry_run) = (self.arguments.force, self.arguments.dry_run);
        let (one, context, now_ms) = (wanted.clone(), context.clone(), database::operator().now_ms);
        let linked = if dry_run {
            self.store.read(|reader| links::foresee(reader, said(wanted), force))?
        } else {
            self.store.write(move |tx| {
                notify::with_notices(tx, &context, now_ms, |basis| links::link(tx, said(&one), force, basis))
            })?
        };
        Ok(match linked {
            LinkResult::Now => LinkOutcome::Linked,
            LinkResult::Already => LinkOutcome::Already,
            LinkResult::Taken(other) => LinkOutcome::Taken(other),
        })
    }
}

fn said(wanted: &WantedLink) -> LinkStatement<'_> {
    LinkStatement { kind: wanted.kind, id: &wanted.object, user_id: &wanted.user_id, actor: "cli" }
}

/// Reads it from Stripe into the tables; an outcome where it cannot be linked.
fn look_at(means: &SyncTools, wanted: &WantedLink, dry_run: bool) -> Result<Option<LinkOutcome>, CommandError> {
    let path = kinds::of(wanted.kind.as_str()).path_of(&wanted.object);
    let (answer, reading) = match means.get(&path, &FormBody::new()) {
        Ok(found) => found,
        Err(error) if error.is_missing() => return Ok(Some(LinkOutcome::Unknown)),
        Err(error) if error.is_for_all() => return Err(error.into()),
        Err(error) => return Ok(Some(LinkOutcome::Failed(error.to_string()))),
    };
    let Ok(shown) = ApiObject::new(&answer.text, reading) else {
        return Ok(Some(LinkOutcome::Failed("Stripe's answer has no object".to_owned())));
    };
    if shown.object()["deleted"] == true {
        return Ok(Some(LinkOutcome::Deleted));
    }
    if !dry_run {
        let (context, now_ms) = (std::sync::Arc::clone(&means.context), means.clock.now_ms());
        let absorbed = means.store.write(move |tx| {
            notify::absorb(tx, &shown, &context, now_ms).map(|_| ()).map_err(|error| match error {
                crate::objects::ProjectionError::Store(error) => error,
                error => StoreError::Content(error.to_string()),
            })
        });
        absorbed.map_err(SyncError::from)?;
    }
    Ok(None)
}

fn print(
    wanted: &[WantedLink],
    outcomes: &[LinkOutcome],
    arguments: &LinkArguments,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let failed = outcomes.iter().filter(|outcome| outcome.problem().is_some()).count();
    for (one, outcome) in wanted.iter().zip(outcomes) {
        let problem = outcome.problem();
        if arguments.json {
            let line = json!({
                "user_id": one.user_id, "object": one.kind.as_str(), "id": one.object, "outcome": outcome.word(),
                "problem": problem, "dry_run": arguments.dry_run,
            });
            writeln!(out, "{line}")?;
        } else if let Some(problem) = problem {
            writeln!(
                out,
                "not linked: {} to {}: {problem}",
                table::printable(&one.object),
                table::printable(&one.user_id)
            )?;
        } else if arguments.from.is_none() {
            let word = match (outcome, arguments.dry_run) {
                (LinkOutcome::Already, _) => "already linked",
                (_, true) => "would be linked",
                _ => "linked",
            };
            writeln!(out, "{word}: {} to {}", table::printable(&one.object), table::printable(&one.user_id))?;
        }
    }
    if arguments.from.is_some() && !arguments.json {
        let already = outcomes.iter().filter(|outcome| **outcome == LinkOutcome::Already).count();
        let linked = outcomes.len() - failed - already;
        let word = if arguments.dry_run { "would be linked" } else { "linked" };
        writeln!(out, "{linked} {word}, {already} already linked, {failed} not linked")?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(CommandError::failed(format!(
            "{failed} of {} could not be linked: the lines above say why",
            outcomes.len()
        ))),
    }
}

/// Takes a link back.
///
/// # Errors
/// When it is not linked to that user, or the database cannot be used.
pub(crate) fn unlink(arguments: &Unlink, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    let wanted = wanted(&arguments.id, &arguments.object).map_err(CommandError::wrong_use)?;
    let (one, context, now_ms) = (wanted.clone(), daemon::context(&config), database::operator().now_ms);
    let (unlinked, owner) = database::with_store(&config, |store| {
        Ok(store.write(move |tx| {
            let unlinked = notify::with_notices(tx, &context, now_ms, |basis| links::unlink(tx, said(&one), basis))?;
            Ok((unlinked, links::owner_of(tx, said(&one))?))
        })?)
    })?;
    if !unlinked {
        return Err(CommandError::failed(format!("{} is not linked to user {:?}", wanted.object, wanted.user_id)));
    }
    let now =
        owner.map_or_else(|| "it belongs to no user now".to_owned(), |owner| format!("it belongs to {owner:?} now"));
    Ok(writeln!(out, "unlinked: {} from {}; {now}", wanted.object, wanted.user_id)?)
}
