//! Differences of two texts, in the form that `patch` and `git apply` read.

use imara_diff::{Algorithm, Diff, Hunk, InternedInput};
use std::{fmt::Write, ops::Range};

/// How many lines that are the same stand around a change.
const CONTEXT: u32 = 3;

/// What makes `after` of `before`, both of them called `name`; nothing where they are the same.
///
/// Not always the least that differs: with its heuristics Myers' algorithm takes 10 ms for a million lines of which every third
/// is new, where the histogram algorithm takes 40 s (lines that stand there 20,000 times are no anchors to it).
pub(super) fn patch(name: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let lines = |text| str::split_inclusive(text, '\n').collect::<Vec<_>>();
    let (old, new) = (lines(before), lines(after));
    let hunks = hunks(before, after);
    let mut text = format!("--- a/{name}\n+++ b/{name}\n");
    for group in hunks.chunk_by(|one, next| next.before.start - one.before.end <= 2 * CONTEXT) {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let lead = first.before.start.min(CONTEXT);
        let tail = (old.len() as u32 - last.before.end).min(CONTEXT);
        let (start, end) = (first.before.start - lead, last.before.end + tail);
        header(&mut text, start..end, first.after.start - lead..last.after.end + tail);
        let mut at = start;
        for hunk in group {
            marked(&mut text, ' ', &old[at as usize..hunk.before.start as usize]);
            marked(&mut text, '-', &old[hunk.before.start as usize..hunk.before.end as usize]);
            marked(&mut text, '+', &new[hunk.after.start as usize..hunk.after.end as usize]);
            at = hunk.before.end;
        }
        marked(&mut text, ' ', &old[at as usize..end as usize]);
    }
    text
}

/// Where the texts differ, in lines. One part is compared with the one in its place, as what is put into one changes no
/// other: 20,000 documents that are the same would all be compared with each other.
fn hunks(before: &str, after: &str) -> Vec<Hunk> {
    let (mut old, mut new) = (parts(before), parts(after));
    if old.len() != new.len() {
        (old, new) = (vec![before], vec![after]);
    }
    let mut hunks = Vec::new();
    let (mut old_line, mut new_line) = (0, 0);
    for (old, new) in old.into_iter().zip(new) {
        let input = InternedInput::new(old, new);
        if old != new {
            let mut diff = Diff::compute(Algorithm::Myers, &input);
            diff.postprocess_lines(&input);
            let shift = |range: Range<u32>, by: u32| range.start + by..range.end + by;
            let shifted =
                |hunk: Hunk| Hunk { before: shift(hunk.before, old_line), after: shift(hunk.after, new_line) };
            hunks.extend(diff.hunks().map(shifted));
        }
        old_line += input.before.len() as u32;
        new_line += input.after.len() as u32;
    }
    hunks
}

/// A text cut where a document, or an item of a list of manifests, seems to begin. Any cut is right; these have what is the
/// same on both sides in the same part.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if at > start && (line.starts_with("---") || line.trim_start().starts_with("- apiVersion:")) {
            parts.push(&text[start..at]);
            start = at;
        }
        at += line.len();
    }
    parts.push(&text[start..]);
    parts
}

fn header(text: &mut String, before: Range<u32>, after: Range<u32>) {
    // Lines count from 1; of none, the one before is named.
    let first = |range: &Range<u32>| range.start + u32::from(!range.is_empty());
    let (old, new) = (first(&before), first(&after));
    writeln!(text, "@@ -{old},{} +{new},{} @@", before.len(), after.len()).expect("a String takes everything");
}

fn marked(text: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        text.push(mark);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_other_programs_write_it() {
        assert_eq!(patch("m", "a\n", "a\n"), "");
        let (before, after) = ("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n5\n6\n7\n8\nnine");
        let text = "--- a/m\n+++ b/m\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n+nine\n\\ No newline at end of file\n";
        assert_eq!(patch("m", before, after), text);
        assert_eq!(patch("m", "", "a\n"), "--- a/m\n+++ b/m\n@@ -0,0 +1,1 @@\n+a\n");
    }

    #[test]
    fn the_first_change_has_no_more_context_than_others() {
        let text = patch("m", "1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\nsix\n");
        assert!(text.ends_with("@@ -3,4 +3,4 @@\n 3\n 4\n 5\n-6\n+six\n"), "{text}");
    }

    #[test]
    fn lines_are_counted_through_all_parts() {
        let document = "---\na\nb\nc\nd\ne\n";
        let before = document.repeat(3);
        let after = format!("{document}{}{document}x\n", document.replace("c\n", "c\nnew\n"));
        let expected = "@@ -8,6 +8,7 @@\n a\n b\n c\n+new\n d\n e\n ---\n@@ -16,3 +17,4 @@\n c\n d\n e\n+x\n";
        assert_eq!(patch("m", &before, &after), format!("--- a/m\n+++ b/m\n{expected}"));
        // One document more: as a whole.
        let expected = "@@ -16,3 +16,9 @@\n c\n d\n e\n+---\n+a\n+b\n+c\n+d\n+e\n";
        assert_eq!(patch("m", &before, &document.repeat(4)), format!("--- a/m\n+++ b/m\n{expected}"));
    }
}
