//! A file that is moved away or replaced under the daemon.

use super::{all_done, body, eventually};
use crate::live::{Live, database};

#[test]
fn what_goes_to_a_file_that_was_moved_away_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    assert_eq!(live.post(&body(0)).unwrap().status, 200);
    for (number, ending) in [(1, ""), (2, "-wal")] {
        let (path, aside) = (dir.path().join(format!("tilld.db{ending}")), dir.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(live.post(&body(number)).unwrap().status, 503, "{ending}");
        assert_eq!(live.get("/readyz").0, 503);
        live.logged(&["was moved or removed while in use"]);
        // Another file in its place is not the one that is written.
        std::fs::write(&path, "").unwrap();
        assert_eq!(live.post(&body(number)).unwrap().status, 503, "{ending}");
        std::fs::rename(&aside, &path).unwrap();
        eventually("it is taken again", || live.post(&body(number)).unwrap().status == 200);
    }
    live.settle();
    assert_eq!(live.get("/readyz").0, 200);
    assert_eq!(live.terminate(), Some(0));
    all_done(&database(dir.path()), 3);
}
