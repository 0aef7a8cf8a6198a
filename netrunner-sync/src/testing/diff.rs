//! Whether a text is as expected, and where it is not: by lines, for people. Knows nothing of commands.

/// Stands for any number of lines.
const LINES: &str = "...";

/// Stands for any text within a line.
const WITHIN: &str = "[..]";

/// So many equal lines are shown around one that differs.
const AROUND: usize = 3;

/// Of longer texts only so many lines from the first difference on are compared in detail: the table grows
/// with the square.
const MOST: usize = 500;

/// Bytes as text; what is not UTF-8 as `\xff`.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The lines as they are shown: control characters visible, and a last one without its ending marked.
pub(super) fn lines(text: &str) -> Vec<String> {
    let shown = |line: &str| {
        let mut shown = String::with_capacity(line.len());
        for char in line.chars() {
            match char {
                '\n' => {}
                '\t' => shown.push('\t'),
                char if char.is_control() => shown.extend(char.escape_debug()),
                char => shown.push(char),
            }
        }
        if !line.ends_with('\n') {
            shown.push_str(" (without a line ending)");
        }
        shown
    };
    text.split_inclusive('\n').map(shown).collect()
}

/// What is different, in lines that begin with `-` (expected, and not there) or `+` (there, and not
/// expected); `None` if nothing is.
pub(super) fn difference(expected: &str, found: &[u8]) -> Option<String> {
    let found = text(found);
    let wanted: Vec<&str> = expected.split_inclusive('\n').collect();
    let given: Vec<&str> = found.split_inclusive('\n').collect();
    if all_match(&wanted, &given) {
        return None;
    }
    let same = wanted.iter().zip(&given).take_while(|(wanted, given)| line_matches(wanted, given));
    // The lines for which any may stand are where the table has to decide.
    let same = same.take_while(|(wanted, _)| !is_any_lines(wanted)).count();
    let up_to = |length: usize| length.min(same + MOST);
    let steps = align(&wanted[same..up_to(wanted.len())], &given[same..up_to(given.len())]);
    let (wanted_shown, given_shown) = (lines(expected), lines(&found));
    let mut all: Vec<(char, &str)> =
        given_shown[..same].iter().map(|line| (' ', line.as_str())).collect();
    let (mut from_wanted, mut from_given) = (same, same);
    for step in steps {
        match step {
            Step::Missing => all.push(('-', &wanted_shown[from_wanted])),
            Step::Surplus => all.push(('+', &given_shown[from_given])),
            Step::Same | Step::AnyTakes => all.push((' ', &given_shown[from_given])),
            Step::AnyEnds => {}
        }
        let (wanted, given) = step.takes();
        from_wanted += usize::from(wanted);
        from_given += usize::from(given);
    }
    let mut page = page(&all);
    if up_to(wanted.len()) < wanted.len() || up_to(given.len()) < given.len() {
        page.push_str("  (and so on: what follows was not compared)\n");
    }
    Some(page)
}

fn is_any_lines(line: &str) -> bool {
    line.trim_end_matches('\n') == LINES
}

fn line_matches(wanted: &str, given: &str) -> bool {
    let (wanted_text, given_text) = (wanted.trim_end_matches('\n'), given.trim_end_matches('\n'));
    let Some((first, rest)) = wanted_text.split_once(WITHIN) else { return wanted == given };
    let Some(mut left) = given_text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split(WITHIN).collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last) && wanted.ends_with('\n') == given.ends_with('\n')
}

/// Whether all lines match: the usual walk over a pattern with stars, back to the last star at a mismatch.
fn all_match(wanted: &[&str], given: &[&str]) -> bool {
    let (mut w, mut g) = (0, 0);
    let mut star = None;
    while g < given.len() {
        if wanted.get(w).is_some_and(|line| is_any_lines(line)) {
            star = Some((w, g));
            w += 1;
        } else if wanted.get(w).is_some_and(|line| line_matches(line, given[g])) {
            (w, g) = (w + 1, g + 1);
        } else if let Some((at, taken)) = star {
            // It stands for one line more.
            star = Some((at, taken + 1));
            (w, g) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    wanted[w..].iter().all(|line| is_any_lines(line))
}

/// One step along both texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A line is as expected.
    Same,
    /// An expected line is not there.
    Missing,
    /// A line is there and not expected.
    Surplus,
    /// The line that stands for any takes one more.
    AnyTakes,
    /// It takes no more.
    AnyEnds,
}

impl Step {
    /// Whether it goes past a line of the expected text, and of the other.
    fn takes(self) -> (bool, bool) {
        match self {
            Step::Same => (true, true),
            Step::Missing | Step::AnyEnds => (true, false),
            Step::Surplus | Step::AnyTakes => (false, true),
        }
    }
}

/// The way along both texts with the fewest lines that differ.
fn align(wanted: &[&str], given: &[&str]) -> Vec<Step> {
    // From the ends on: what the rest costs from each pair of places, and the first step of it.
    let width = given.len() + 1;
    let mut first = vec![Step::Surplus; (wanted.len() + 1) * width];
    let mut below: Vec<usize> = (0..width).rev().collect();
    for w in (0..wanted.len()).rev() {
        let mut row = vec![0; width];
        for g in (0..width).rev() {
            let line = given.get(g);
            let mut steps = Vec::with_capacity(3);
            if is_any_lines(wanted[w]) {
                steps.push((below[g], Step::AnyEnds));
                steps.extend(line.map(|_| (row[g + 1], Step::AnyTakes)));
            } else {
                let same = line.filter(|line| line_matches(wanted[w], line));
                steps.extend(same.map(|_| (below[g + 1], Step::Same)));
                steps.push((below[g] + 1, Step::Missing));
                steps.extend(line.map(|_| (row[g + 1] + 1, Step::Surplus)));
            }
            let best = steps.into_iter().min_by_key(|(cost, _)| *cost);
            (row[g], first[w * width + g]) = best.unwrap_or((0, Step::Missing));
        }
        below = row;
    }
    let (mut w, mut g) = (0, 0);
    let mut way = Vec::new();
    while w < wanted.len() || g < given.len() {
        let step = first[w * width + g];
        let (wanted, given) = step.takes();
        (w, g) = (w + usize::from(wanted), g + usize::from(given));
        way.push(step);
    }
    way
}

/// The marked lines, but of those that are as expected only some around the others.
fn page(all: &[(char, &str)]) -> String {
    let mut page = "  (- expected, + found)\n".to_owned();
    let mut left_out = 0;
    for (index, (mark, line)) in all.iter().enumerate() {
        let around = &all[index.saturating_sub(AROUND)..all.len().min(index + AROUND + 1)];
        if around.iter().all(|(mark, _)| *mark == ' ') {
            left_out += 1;
            continue;
        }
        push_left_out(&mut page, &mut left_out);
        page.push_str(&format!("{mark} {line}\n"));
    }
    push_left_out(&mut page, &mut left_out);
    page
}

fn push_left_out(page: &mut String, left_out: &mut usize) {
    match std::mem::take(left_out) {
        0 => {}
        1 => page.push_str("  (1 line as expected)\n"),
        many => page.push_str(&format!("  ({many} lines as expected)\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(expected: &str, found: &str) {
        assert_eq!(difference(expected, found.as_bytes()), None);
    }

    #[track_caller]
    fn differs(expected: &str, found: &str, shown: &str) {
        let difference = difference(expected, found.as_bytes()).expect("a difference");
        assert_eq!(difference, format!("  (- expected, + found)\n{shown}"));
    }

    #[test]
    fn what_is_left_open_matches() {
        same("", "");
        same("a\nb", "a\nb");
        same("...\n", "");
        same("...\n", "a\nb\n");
        same("...", "a\nb");
        same("a\n...\nc\n...\n", "a\nc\nb\nc\n");
        same("...\nb\n...\nb\n", "b\na\nb\nb\n");
        same("x [..] y [..]\n", "x 1 y 2 y 3\n");
        same("[..][..]\n", "\n");
        same("took [..] s\n", "took  s\n");
    }

    #[test]
    fn what_is_not_left_open_differs() {
        for (expected, found) in [
            ("a\n", "a"),
            ("a", "a\n"),
            ("a [..]", "a b\n"),
            ("x[..]x\n", "x\n"),
            ("x [..] y\n", "x 1\ny\n"),
            ("...\na\n", "a\nb\n"),
            ("a\n....\n", "a\nb\n"),
            ("", "\n"),
        ] {
            assert!(difference(expected, found.as_bytes()).is_some(), "{expected:?} {found:?}");
        }
    }

    #[test]
    fn a_difference_is_shown_in_its_surroundings() {
        let many: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let wrong = many.replace("10\n", "ten\nand more\n");
        let around = "  (6 lines as expected)\n  7\n  8\n  9\n- 10\n+ ten\n+ and more\n";
        let rest = "  11\n  12\n  13\n  (7 lines as expected)\n";
        differs(&many, &wrong, &format!("{around}{rest}"));
        differs("a\nb\n", "a\n", "  a\n- b\n");
        differs("a\n", "", "- a\n");
        differs("a\n", "a", "- a\n+ a (without a line ending)\n");
        differs("a\tb\n", "a\tb\r\n", "- a\tb\n+ a\tb\\r\n");
    }

    #[test]
    fn lines_that_may_be_any_are_no_difference() {
        differs("a\n...\nd\n", "a\nb\nc\ne\n", "  (1 line as expected)\n  b\n  c\n  e\n- d\n");
        differs("...\nd\n", "c\n", "  c\n- d\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_written_out() {
        assert_eq!(text(b"a\xff\xfeb"), "a\\xff\\xfeb");
        assert_eq!(difference("\\xff", b"\xff"), None);
    }

    #[test]
    fn a_long_text_is_compared_in_part() {
        let expected = "a\n".repeat(3 * MOST);
        let found = expected.replacen("a\n", "b\n", 1);
        let difference = difference(&expected, found.as_bytes()).expect("a difference");
        assert!(
            difference.contains("+ b\n") && difference.contains("not compared"),
            "{difference}"
        );
        same(&expected, &expected);
    }
}
