//! Rotation, and what else happens to a log file.

use super::*;

/// A directory of its own, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let name = format!("netrunner-log-{}-{name}", std::process::id());
        let place = Place(std::env::temp_dir().join(name));
        fs::create_dir_all(&place.0).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What each file has, by name.
    fn all(&self) -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        all.sort();
        all
    }

    fn open(&self, most: u64, keep: u32) -> Writer {
        Writer::open(&LogFile::new(self.path("log")).rotate(most, keep)).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_file_is_renamed_before_it_is_too_long_and_no_line_is_cut() {
    for piece in [1, 2, 5, 1000] {
        let place = Place::new(&format!("rotate-{piece}"));
        let mut writer = place.open(10, 2);
        let text = b"1111\n2222\n3333\n4444\n5\n666666666\n7777777777777\n8\n";
        text.chunks(piece).for_each(|bytes| writer.take(Stream::Stdout, bytes));
        let left = [("log", "8\n"), ("log.1", "7777777777777\n"), ("log.2", "666666666\n")];
        assert_eq!(place.all(), files(&left), "in pieces of {piece}");
        assert_eq!((writer.trouble.lost, writer.trouble.error), (0, None));
    }
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be_kept() {
    let place = Place::new("keep-none");
    let mut writer = place.open(6, 0);
    writer.take(Stream::Stdout, b"first\nsecond\n");
    assert_eq!(place.all(), files(&[("log", "second\n")]));
}

#[test]
fn what_was_there_before_is_appended_to_and_counts() {
    let place = Place::new("append");
    fs::write(place.path("log"), "before\n").unwrap();
    let mut writer = place.open(12, 1);
    writer.take(Stream::Stdout, b"two\n");
    assert_eq!(place.all(), files(&[("log", "before\ntwo\n")]));
    writer.take(Stream::Stdout, b"three\n");
    assert_eq!(place.all(), files(&[("log", "three\n"), ("log.1", "before\ntwo\n")]));
}

#[test]
fn a_gap_that_a_crash_left_is_closed_and_nothing_behind_it_is_lost() {
    let place = Place::new("gap");
    // As after the death of a client between the two renames of a rotation.
    for (name, text) in [("log", "new\n"), ("log.2", "old\n"), ("log.3", "older\n")] {
        fs::write(place.path(name), text).unwrap();
    }
    let mut writer = place.open(4, 3);
    writer.take(Stream::Stdout, b"now\n");
    let left = [("log", "now\n"), ("log.1", "new\n"), ("log.2", "old\n"), ("log.3", "older\n")];
    assert_eq!(place.all(), files(&left));
}

#[test]
fn the_lines_of_two_streams_are_not_mixed() {
    let place = Place::new("two");
    let mut writer = place.open(1000, 1);
    writer.take(Stream::Stdout, b"out ");
    writer.take(Stream::Stderr, b"err 1\nerr ");
    writer.take(Stream::Stdout, b"1\nout");
    writer.take(Stream::Stderr, b"2\n");
    assert_eq!(place.all(), files(&[("log", "err 1\nout 1\nerr 2\n")]));
    writer.finish();
    writer.take(Stream::Stderr, b"the next process\n");
    assert_eq!(place.all(), files(&[("log", "err 1\nout 1\nerr 2\nout\nthe next process\n")]));
}

#[test]
fn a_file_that_others_rename_remove_or_truncate_is_followed() {
    let place = Place::new("others");
    let mut writer = place.open(10, 1);
    writer.take(Stream::Stdout, b"one\n");
    fs::rename(place.path("log"), place.path("moved")).unwrap();
    writer.take(Stream::Stdout, b"two\n");
    assert_eq!(place.all(), files(&[("log", "two\n"), ("moved", "one\n")]));
    fs::remove_file(place.path("log")).unwrap();
    writer.take(Stream::Stdout, b"three\n");
    assert_eq!(place.all(), files(&[("log", "three\n"), ("moved", "one\n")]));
    File::create(place.path("log")).unwrap();
    // It has room again, so that this is no reason to rotate.
    writer.take(Stream::Stdout, b"four four\n");
    assert_eq!(place.all(), files(&[("log", "four four\n"), ("moved", "one\n")]));
}

#[test]
fn a_line_without_end_is_written_in_pieces_of_a_bounded_size() {
    let place = Place::new("endless");
    let mut writer = Writer::open(&LogFile::new(place.path("log"))).unwrap();
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..40 {
        writer.take(Stream::Stdout, &piece);
        assert!(writer.begun[0].len() < LONGEST_LINE);
    }
    writer.finish();
    assert_eq!(fs::metadata(place.path("log")).unwrap().len(), 40 << 16);
}

#[test]
fn a_failure_is_told_and_the_next_lines_are_tried_again() {
    let place = Place::new("trouble");
    let folder = place.path("folder");
    fs::create_dir(&folder).unwrap();
    let mut writer = Writer::open(&LogFile::new(folder.join("log"))).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    writer.take(Stream::Stdout, b"lost\n");
    assert_eq!(writer.trouble.lost, 5);
    assert!(writer.trouble.error.as_deref().unwrap().contains("No such file"));
    fs::create_dir(&folder).unwrap();
    writer.take(Stream::Stdout, b"kept\n");
    assert_eq!(fs::read_to_string(folder.join("log")).unwrap(), "kept\n");
    assert_eq!(writer.trouble.lost, 5);
}

#[test]
fn a_rotation_that_fails_lets_the_file_grow() {
    let place = Place::new("stuck");
    // A name that nothing can be renamed to.
    fs::create_dir_all(place.path("log.1/full")).unwrap();
    let mut writer = place.open(4, 1);
    writer.take(Stream::Stdout, b"one\ntwo\n");
    assert_eq!(fs::read_to_string(place.path("log")).unwrap(), "one\ntwo\n");
    assert_eq!(writer.trouble.lost, 0);
    assert!(writer.trouble.error.is_some());
}

#[test]
fn only_a_regular_file_is_taken() {
    let place = Place::new("kinds");
    let fifo = place.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    for path in [fifo.as_path(), Path::new("/dev/null"), place.0.as_path()] {
        assert!(Writer::open(&LogFile::new(path)).is_err(), "{}", path.display());
    }
}
