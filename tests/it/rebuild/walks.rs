//! Random walks of a subscription that may be deleted and come back within a second, its events delivered in any order,
//! replayed at any time, and read from the API between: whatever waits meanwhile, a rebuild makes the tables as they are.

use std::cell::RefCell;
use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tilld::app::trigger::ApiVersion;
use tilld::objects::reading::RequestSent;
use tilld::store::inbox;

use crate::harness::cases;
use crate::histories::{SUB_CREATED, SUB_DELETED, SUB_UPDATED};
use crate::order::Again;
use crate::reads::absorb;
use crate::story::{Story, T0};
use crate::versions::delivered;

/// Random walks.
const WALKS: u32 = 100;

/// One thing that happens, at Stripe or here.
#[derive(Debug, Clone)]
enum Turn {
    /// At Stripe: the subscription changes, in a new second or not.
    Change { patch: Value, new_second: bool },
    /// At Stripe: it is deleted, or comes back.
    EndOrReturn { new_second: bool },
    /// One of the events that have not been delivered yet arrives.
    Deliver(prop::sample::Index),
    /// The API is asked; of a deleted subscription it shows all, or the id alone.
    Ask { stub: bool },
    /// Its oldest answer arrives.
    Answer,
    /// One event that is here already waits again.
    Replay(prop::sample::Index),
    /// All do.
    ReplayAll,
    /// The worker takes what waits.
    Settle,
}

fn turn() -> impl Strategy<Value = Turn> {
    let patch = prop_oneof![
        3 => prop::sample::select(vec!["active", "past_due", "unpaid"]).prop_map(|to| json!({"status": to})),
        2 => (0..3_i64).prop_map(|to| json!({"metadata": {"seats": to.to_string()}})),
        1 => prop::sample::select(vec!["price_pro", "price_team"])
            .prop_map(|to| json!({"items": {"data": {"0": {"price": {"id": to}}}}})),
    ];
    let new_second = || prop::bool::weighted(0.3);
    prop_oneof![
        4 => (patch, new_second()).prop_map(|(patch, new_second)| Turn::Change { patch, new_second }),
        3 => new_second().prop_map(|new_second| Turn::EndOrReturn { new_second }),
        7 => any::<prop::sample::Index>().prop_map(Turn::Deliver),
        4 => any::<bool>().prop_map(|stub| Turn::Ask { stub }),
        4 => Just(Turn::Answer),
        1 => any::<prop::sample::Index>().prop_map(Turn::Replay),
        2 => Just(Turn::ReplayAll),
        4 => Just(Turn::Settle),
    ]
}

/// Stripe and the program, on the way through a walk.
struct Walk<'a> {
    again: &'a mut Again,
    story: Story,
    offset_s: i64,
    undelivered: Vec<Value>,
    delivered: Vec<String>,
    answers: VecDeque<(Value, RequestSent, i64)>,
    asked: i64,
}

impl<'a> Walk<'a> {
    fn begin(again: &'a mut Again) -> Self {
        again.empty();
        let story = Story::of(Some("alice"));
        let mut walk = Self {
            again,
            story,
            offset_s: 0,
            undelivered: Vec::new(),
            delivered: Vec::new(),
            answers: VecDeque::new(),
            asked: 0,
        };
        walk.story.make("customer.created", "customer", json!({}));
        walk.tell();
        walk.story.make(SUB_CREATED, "sub", json!({}));
        walk.tell();
        walk
    }

    /// The newest step of the story is to be delivered.
    fn tell(&mut self) {
        let step = self.story.steps.last().unwrap();
        if step.before.as_ref() == Some(&step.object) && step.event_type == SUB_UPDATED {
            self.story.steps.pop();
            return;
        }
        self.undelivered.extend(delivered(step, ApiVersion::CURRENT));
    }

    fn is_deleted(&self) -> bool {
        self.story.steps.last().is_some_and(|step| step.event_type == SUB_DELETED)
    }

    fn take(&mut self, turn: &Turn) {
        match turn {
            Turn::Change { .. } if self.is_deleted() => {}
            Turn::Change { patch, new_second } => self.change(SUB_UPDATED, patch.clone(), *new_second),
            Turn::EndOrReturn { new_second } if self.is_deleted() => {
                self.change(SUB_CREATED, json!({"status": "active"}), *new_second);
            }
            Turn::EndOrReturn { new_second } => {
                self.change(SUB_DELETED, json!({"status": "canceled"}), *new_second);
            }
            Turn::Deliver(_) if self.undelivered.is_empty() => {}
            Turn::Deliver(which) => {
                let event = self.undelivered.remove(which.index(self.undelivered.len()));
                self.delivered.push(event["id"].as_str().unwrap().to_owned());
                assert_eq!(self.again.till.post(&event).0, 200);
            }
            Turn::Ask { stub } => self.ask(*stub),
            Turn::Answer => {
                if let Some((object, sent, at_s)) = self.answers.pop_front() {
                    absorb(&self.again.till, &object, sent, at_s);
                }
            }
            Turn::Replay(_) if self.delivered.is_empty() => {}
            Turn::Replay(which) => {
                let id = which.get(&self.delivered).clone();
                assert!(self.again.till.store.write(move |tx| inbox::replay(tx, &id)).unwrap());
            }
            Turn::ReplayAll => {
                self.again.till.store.write(|tx| inbox::replay_all(tx, None)).unwrap();
            }
            Turn::Settle => self.again.till.settle(),
        }
    }

    fn change(&mut self, event_type: &'static str, patch: Value, new_second: bool) {
        self.offset_s += i64::from(new_second);
        self.story.at(self.offset_s).then(event_type, "sub", patch);
        self.tell();
    }

    fn ask(&mut self, stub: bool) {
        let step = self.story.steps.last().unwrap();
        // Of what is unknown here nobody asks by its id.
        let known = "SELECT count(*) FROM mirror WHERE object = 'subscription'";
        let object = match stub && self.is_deleted() && self.again.till.value(known) == 1 {
            true => json!({"id": step.object["id"], "object": "subscription", "deleted": true}),
            false => step.object.clone(),
        };
        let at_s = T0 + self.offset_s;
        self.asked += 1;
        let at_ms = at_s * 1000 + self.asked;
        let sent = self.again.till.store.read(|reader| RequestSent::now(reader, at_ms)).unwrap();
        self.answers.push_back((object, sent, at_s));
    }

    fn is_as_rebuilt(&self, when: &str) -> Result<(), TestCaseError> {
        let differ = self.again.till.rebuilt_otherwise();
        prop_assert!(differ.is_empty(), "{when}, a rebuild makes something else:\n{}", differ.join("\n"));
        Ok(())
    }
}

#[test]
fn a_rebuild_makes_what_any_walk_with_replays_and_readings_has_made() {
    let again = RefCell::new(Again::new());
    let config = Config { cases: cases(WALKS), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(turn(), 8..32), |turns| {
            let mut again = again.borrow_mut();
            let mut walk = Walk::begin(&mut again);
            turns.iter().for_each(|turn| walk.take(turn));
            walk.is_as_rebuilt("while events wait")?;
            walk.again.till.settle();
            walk.is_as_rebuilt("when all is projected")
        })
        .unwrap();
}
