use super::*;
use Priority::{Background, Interactive};
use proptest::prelude::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to start some threads on a busy machine.
const HOLD: Duration = Duration::from_millis(500);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_full_bucket_gives_its_burst_at_once_and_then_one_per_interval() {
    let mut core = BucketCore::new(20, 3);
    for _ in 0..3 {
        let ticket = core.join(Interactive);
        assert_eq!(core.at(ms(0), ticket), BucketTurn::Go);
    }
    let ticket = core.join(Interactive);
    assert_eq!(core.at(ms(0), ticket), BucketTurn::In(ms(50)));
    assert_eq!(core.at(ms(49), ticket), BucketTurn::In(ms(1)));
    assert_eq!(core.at(ms(50), ticket), BucketTurn::Go);
}

#[test]
fn a_rest_fills_the_bucket_up_to_its_burst_and_no_further() {
    let mut core = BucketCore::new(10, 2);
    let hour = Duration::from_secs(3600);
    let turns: Vec<BucketTurn> = (0..3)
        .map(|_| core.join(Background))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|ticket| core.at(hour, ticket))
        .collect();
    assert_eq!(turns, [BucketTurn::Go, BucketTurn::Go, BucketTurn::In(ms(100))]);
}

#[test]
fn a_background_caller_takes_no_token_while_an_interactive_one_waits() {
    let mut core = BucketCore::new(10, 1);
    let early = core.join(Background);
    let late = core.join(Interactive);
    assert_eq!(core.at(ms(0), early), BucketTurn::Behind);
    assert_eq!(core.at(ms(0), late), BucketTurn::Go);
    let later = core.join(Interactive);
    assert_eq!(core.at(ms(100), early), BucketTurn::Behind);
    core.leave(later);
    assert_eq!(core.at(ms(100), early), BucketTurn::Go);
    assert_eq!(core.waiting(), (0, 0));
}

#[test]
fn an_emptied_bucket_pauses_and_then_fills_from_nothing() {
    let mut core = BucketCore::new(10, 5);
    core.empty(ms(1000), ms(500));
    let ticket = core.join(Interactive);
    assert_eq!(core.at(ms(1000), ticket), BucketTurn::In(ms(600)));
    assert_eq!(core.at(ms(1500), ticket), BucketTurn::In(ms(100)));
    // A shorter pause does not end a longer one.
    core.empty(ms(1500), ms(500));
    core.empty(ms(1501), ms(1));
    assert_eq!(core.at(ms(1600), ticket), BucketTurn::In(ms(500)));
    assert_eq!(core.at(ms(2100), ticket), BucketTurn::Go);
}

#[test]
fn senseless_numbers_and_times_do_no_harm() {
    for (per_s, burst) in [(0, 0), (u32::MAX, u32::MAX), (1, u32::MAX), (7, 1)] {
        let mut core = BucketCore::new(per_s, burst);
        let ticket = core.join(Interactive);
        assert_eq!(core.at(Duration::MAX, ticket), BucketTurn::Go);
        core.empty(Duration::MAX, Duration::MAX);
        let ticket = core.join(Interactive);
        assert!(matches!(core.at(Duration::ZERO, ticket), BucketTurn::In(_)));
        core.leave(BucketTicket(99));
    }
}

/// What happens to a bucket in a property: time passes, callers come, go or lose patience, Stripe says 429.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Come(Priority),
    GiveUp(usize),
    Limited(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let priority = || prop_oneof![Just(Interactive), Just(Background)];
    let event = prop_oneof![
        4 => (0_u64..200).prop_map(Event::Pass),
        6 => priority().prop_map(Event::Come),
        1 => (0_usize..50).prop_map(Event::GiveUp),
        1 => (0_u64..300).prop_map(Event::Limited),
    ];
    proptest::collection::vec(event, 1..200)
}

/// Lets every caller ask, again and again, until nobody gets a token at this time; who got one.
fn settle(
    core: &mut BucketCore,
    now: Duration,
    waiting: &mut Vec<(BucketTicket, Priority)>,
) -> Vec<(BucketTicket, Priority)> {
    let mut granted = Vec::new();
    loop {
        let before = waiting.clone();
        let mut moved = false;
        for (ticket, priority) in before {
            let interactive_waits = waiting.iter().any(|(_, priority)| *priority == Interactive);
            if core.at(now, ticket) == BucketTurn::Go {
                assert!(priority == Interactive || !interactive_waits, "a background caller overtook");
                waiting.retain(|(waiting, _)| *waiting != ticket);
                granted.push((ticket, priority));
                moved = true;
            }
        }
        if !moved {
            return granted;
        }
    }
}

proptest! {
    #[test]
    fn over_any_window_the_rate_holds_and_nobody_overtakes(
        per_s in 1_u32..100, burst in 1_u32..30, events in events(),
    ) {
        let mut core = BucketCore::new(per_s, burst);
        let (mut now_ms, mut waiting, mut grants) = (0, Vec::new(), Vec::new());
        let mut last = BTreeMap::new();
        for event in events {
            match event {
                Event::Pass(by) => now_ms += by,
                Event::Come(priority) => waiting.push((core.join(priority), priority)),
                Event::GiveUp(who) if who < waiting.len() => core.leave(waiting.remove(who).0),
                Event::GiveUp(_) => {}
                Event::Limited(pause) => core.empty(ms(now_ms), ms(pause)),
            }
            for (ticket, priority) in settle(&mut core, ms(now_ms), &mut waiting) {
                grants.push(now_ms);
                let before = last.insert(priority == Interactive, ticket);
                prop_assert!(before < Some(ticket), "not in the order of their coming");
            }
        }
        for (first, start) in grants.iter().enumerate() {
            for (last, end) in grants.iter().enumerate().skip(first) {
                let most = u64::from(burst) * 1000 + (end - start) * u64::from(per_s);
                prop_assert!((last - first + 1) as u64 * 1000 <= most, "{} in {} ms", last - first + 1, end - start);
            }
        }
    }

    #[test]
    fn an_interactive_caller_waits_for_those_before_it_and_no_longer_whatever_the_background_does(
        per_s in 5_u32..100, burst in 1_u32..30, ahead in 0_u64..8, flood in 1_usize..50, start_ms in 0_u64..5000,
    ) {
        let mut core = BucketCore::new(per_s, burst);
        let mut waiting: Vec<_> = (0..flood).map(|_| (core.join(Background), Background)).collect();
        settle(&mut core, ms(start_ms), &mut waiting);
        let before: Vec<_> = (0..ahead).map(|_| (core.join(Interactive), Interactive)).collect();
        let mine = core.join(Interactive);
        waiting.extend(before);
        waiting.push((mine, Interactive));
        let mut now_ms = start_ms;
        while waiting.iter().any(|(ticket, _)| *ticket == mine) {
            // The flood goes on: as soon as one is through, another comes.
            while waiting.len() < flood {
                waiting.push((core.join(Background), Background));
            }
            settle(&mut core, ms(now_ms), &mut waiting);
            now_ms += 1;
        }
        // Time goes by whole milliseconds here, and a full bucket of one token saves nothing of the rest of one.
        let most_ms = (ahead + 1) * (1000 / u64::from(per_s) + 1) + 1;
        prop_assert!(now_ms - start_ms <= most_ms, "{} ms, not {most_ms}", now_ms - start_ms);
    }
}

fn wait_until(bucket: &Bucket, waiting: (usize, usize)) {
    let since = Instant::now();
    while bucket.waiting() != waiting {
        assert!(since.elapsed() < PATIENCE, "{:?} wait, not {waiting:?}", bucket.waiting());
        std::thread::sleep(ms(1));
    }
}

/// Keeps the bucket empty until so many wait.
fn hold_until(bucket: &Bucket, waiting: (usize, usize)) {
    let since = Instant::now();
    while bucket.waiting() != waiting {
        assert!(since.elapsed() < PATIENCE, "{:?} wait, not {waiting:?}", bucket.waiting());
        bucket.empty(HOLD);
        std::thread::sleep(ms(1));
    }
}

#[test]
fn a_thread_of_the_background_that_has_its_token_sees_no_interactive_one_waiting() {
    let bucket = Bucket::new(1000, 1);
    bucket.empty(HOLD);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                bucket.take(Background, PATIENCE).unwrap();
                // Nobody comes any more, so this stays true once it is.
                assert_eq!(bucket.waiting().0, 0);
            });
        }
        hold_until(&bucket, (0, 20));
        for _ in 0..20 {
            scope.spawn(|| bucket.take(Interactive, PATIENCE).unwrap());
        }
        hold_until(&bucket, (20, 20));
    });
    assert_eq!(bucket.waiting(), (0, 0));
}

#[test]
fn who_cannot_have_a_token_in_time_is_told_and_takes_none() {
    let bucket = Bucket::new(1, 1);
    bucket.take(Interactive, Duration::ZERO).unwrap();
    assert_eq!(bucket.take(Interactive, ms(5)), Err(NoTurn::TimedOut));
    assert_eq!(bucket.take(Background, Duration::ZERO), Err(NoTurn::TimedOut));
    assert_eq!(bucket.waiting(), (0, 0));
}

#[test]
fn a_caller_that_gives_up_wakes_the_next() {
    let since = Instant::now();
    let bucket = Bucket::new(1000, 1);
    bucket.empty(HOLD);
    std::thread::scope(|scope| {
        let impatient = scope.spawn(|| bucket.take(Interactive, HOLD * 2));
        wait_until(&bucket, (1, 0));
        // Comes behind it, so it sleeps until it is woken.
        let patient = scope.spawn(|| bucket.take(Background, PATIENCE));
        wait_until(&bucket, (1, 1));
        // When the first wakes, its token is further away than it would wait.
        bucket.empty(HOLD * 3);
        assert_eq!(impatient.join().unwrap(), Err(NoTurn::TimedOut));
        assert_eq!(patient.join().unwrap(), Ok(()));
        assert!(since.elapsed() < PATIENCE, "it slept to the end of its patience");
    });
}

#[test]
fn closing_sends_away_who_waits_and_who_rests() {
    let bucket = Bucket::new(1, 1);
    bucket.take(Interactive, Duration::ZERO).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            bucket.empty(PATIENCE);
            bucket.take(Background, PATIENCE * 9)
        });
        let rests = scope.spawn(|| bucket.rest(PATIENCE * 9));
        wait_until(&bucket, (0, 1));
        bucket.close();
        assert_eq!(waits.join().unwrap(), Err(NoTurn::Closed));
        assert!(!rests.join().unwrap());
    });
    assert_eq!(bucket.take(Interactive, PATIENCE), Err(NoTurn::Closed));
    assert!(!bucket.rest(Duration::ZERO));
}
