//! The tables of the documents against the lists in the program: what one has, the other has.

use std::collections::BTreeSet;

use tilld::notify::event_type::AppEventType;
use tilld::notify::mail::PLACEHOLDERS;
use tilld::notify::notice::MailKind;

fn document(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The words in backticks in the first column of the table with this head.
fn first_column(document: &str, head: &str) -> Vec<String> {
    let mut lines = document.lines().skip_while(|line| !line.starts_with(&format!("| {head} |")));
    assert!(lines.next().is_some(), "there is no table {head}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let cell = row.split('|').nth(1).unwrap();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_table_of_mails_lists_every_kind_of_notice_in_order_and_no_other() {
    let listed = first_column(&document("docs/notices.md"), "Kind");
    let known: Vec<&str> = MailKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(listed, known);
}

#[test]
fn the_table_of_placeholders_lists_every_placeholder_and_no_other() {
    let listed: BTreeSet<String> = first_column(&document("docs/notices.md"), "Placeholder").into_iter().collect();
    assert_eq!(listed, PLACEHOLDERS.map(str::to_owned).into());
}

#[test]
fn the_table_of_events_lists_every_type_in_order_and_no_other_but_stripes_own() {
    let mut listed = first_column(&document("README.md"), "Event");
    listed.retain(|word| !word.starts_with("stripe."));
    let known: Vec<&str> = AppEventType::offered().map(AppEventType::as_str).collect();
    assert_eq!(listed, known);
}

#[test]
fn the_example_of_the_configuration_names_every_type_of_event() {
    let example = document("config.toml.example");
    for event_type in AppEventType::offered() {
        assert!(example.contains(event_type.as_str()), "{}", event_type.as_str());
    }
}

/// The files of a room, and its folders with a slash at the end.
fn entries(room: &str) -> BTreeSet<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let slash = if entry.file_type().unwrap().is_dir() { "/" } else { "" };
            format!("{}{slash}", entry.file_name().to_str().unwrap())
        })
        .collect()
}

#[test]
fn the_architecture_names_every_file_and_folder_of_every_room_and_no_other() {
    let architecture = document("ARCHITECTURE.md");
    let rooms: BTreeSet<String> =
        entries("").into_iter().filter_map(|name| Some(name.strip_suffix('/')?.into())).collect();
    assert_eq!(rooms.len(), 9);
    for room in rooms {
        let listed = first_column(&architecture, &format!("src/{room}"));
        let unique: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(unique, entries(&room), "src/{room}");
        assert_eq!(unique.len(), listed.len(), "a file of src/{room} is named twice");
    }
}

/// Every file in the repository that could be named, from its root.
fn files_below(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files_below(&path, found);
        } else {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn every_source_file_that_a_document_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeSet::new();
    for folder in ["src", "tests", "benches", "migrations", "docs", "fuzz/properties", "fuzz/targets"] {
        files_below(&root.join(folder), &mut files);
    }
    let documents = files.iter().filter(|name| name.starts_with("docs/") && name.ends_with(".md")).cloned();
    let mut named = 0;
    for name in documents.chain(["ARCHITECTURE.md".to_owned(), "README.md".to_owned(), "fuzz/README.md".to_owned()]) {
        let text = document(&name);
        let words: Vec<&str> = text.split('`').collect();
        for place in (1..words.len()).step_by(2) {
            let word = words[place];
            let is_path = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_/.-".contains(&byte));
            // What a reader is to make is new; a name that begins with a dot is an ending.
            let is_new = words.get(place + 1).is_some_and(|rest| rest.starts_with(", new"));
            let is_source = word.ends_with(".rs") || word.ends_with(".sql");
            if !is_path || !is_source || is_new || word.starts_with('.') || word.starts_with("V4__") {
                continue;
            }
            named += 1;
            let fits = |file: &String| *file == *word || file.ends_with(&format!("/{word}"));
            assert!(files.iter().any(fits), "{name}: there is no {word}");
        }
    }
    assert!(named > 150, "only {named} names were found");
}
