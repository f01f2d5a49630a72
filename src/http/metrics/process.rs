//! What the system says of this process, from `/proc`, under the names that Prometheus's own libraries use. What cannot be
//! read is 0. It must never fail a scrape. Called by `metrics`.

use crate::base::metrics::ProcessLevels;

/// Ticks in a second in `/proc/self/stat`: `USER_HZ`, the same on every Linux (man 5 proc).
const TICKS_PER_S: f64 = 100.0;

/// The process as it is now; `started_s`: when it started, unix seconds.
pub(super) fn look(started_s: i64) -> ProcessLevels {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    ProcessLevels {
        started_s,
        cpu_s: cpu_s(&read("/proc/self/stat")).unwrap_or(0.0),
        resident_bytes: resident_bytes(&read("/proc/self/status")).unwrap_or(0),
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| i64::try_from(files.count()).unwrap_or(0)),
    }
}

/// Time in user mode and in the system: fields 14 and 15. The name, field 2, may have blanks, and ends with a bracket.
fn cpu_s(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<u32>().ok();
    Some((f64::from(ticks(11)?) + f64::from(ticks(12)?)) / TICKS_PER_S)
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<i64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_proc_are_read_whatever_the_name_of_the_process() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1000 1 1";
        assert_eq!(cpu_s(stat), Some(3.0));
        assert_eq!(resident_bytes("Name:\ttilld\nVmRSS:\t   20 kB\n"), Some(20_480));
        assert_eq!((cpu_s(""), resident_bytes("")), (None, None));
    }
}
