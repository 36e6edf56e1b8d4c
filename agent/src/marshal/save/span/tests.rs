use super::{super::buffer::PART, *};
use kale_protocol::digest::Digest;
use proptest::prelude::*;
use std::{io::Write, os::fd::AsFd, path::PathBuf, thread};

fn regular(content: &[u8]) -> Arc<Regular> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    let stat = nix::sys::stat::fstat(file.as_fd()).unwrap();
    Arc::new(Regular::new(file, PathBuf::from("x"), stat))
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut content);
    content
}

/// Chunks from front to end, by the rule alone.
fn one_by_one(content: &[u8]) -> Vec<(u32, Digest)> {
    let (mut chunks, mut rest) = (Vec::new(), content);
    while !rest.is_empty() {
        let window = &rest[..rest.len().min(cut::MAX)];
        let (chunk, after) = rest.split_at(Rule::Content.first_chunk(window, true, &mut 0).unwrap());
        chunks.push((chunk.len() as u32, Digest::of(chunk)));
        rest = after;
    }
    chunks
}

/// Chunks of spans that so many workers cut, each with its content as the buffer holds it.
fn side_by_side(file: &Arc<Regular>, segment: Segment, room: usize, workers: usize) -> Vec<(u32, Digest)> {
    let (tasks, queue) = crossbeam_channel::unbounded();
    let (done, mut batches) = (crossbeam_channel::unbounded(), Vec::new());
    Span::of(file, segment, room).enumerate().for_each(|task| tasks.send(task).unwrap());
    drop(tasks);
    thread::scope(|scope| {
        for _ in 0..workers {
            let (queue, done) = (queue.clone(), done.0.clone());
            scope.spawn(move || {
                for (index, span) in queue {
                    let mut buffer = Buffer::new();
                    let chunks = span.cut(&mut buffer).unwrap().expect("no span was given up");
                    let seen = chunks.iter().map(|hashed| {
                        assert_eq!(Digest::of(hashed.content(&buffer)), hashed.chunk.digest);
                        (hashed.chunk.bytes, hashed.chunk.digest)
                    });
                    done.send((index, seen.collect::<Vec<_>>())).unwrap();
                }
            });
        }
    });
    drop(done.0);
    batches.extend(done.1);
    batches.sort_by_key(|(index, _)| *index);
    batches.into_iter().flat_map(|(_, chunks)| chunks).collect()
}

fn check(content: &[u8], before: usize) {
    let all = [&vec![9; before], content].concat();
    let (start, end) = (before as u64, all.len() as u64);
    let (file, segment) = (regular(&all), Segment { start, end, rule: Rule::Content });
    let expected = one_by_one(content);
    for (room, workers) in [(PART, 1), (PART, 2), (2 << 20, 3), (PART, 5)] {
        assert_eq!(side_by_side(&file, segment, room, workers), expected, "{workers} workers, {room} bytes");
    }
}

#[test]
fn cuts_are_those_of_one_thread() {
    let noise = noise(1, 13 << 20);
    let table: Vec<u8> = (0..600_000u32).flat_map(|i| format!("{i},{},{}\n", i % 7, i * 3).into_bytes()).collect();
    let poor: Vec<u8> = noise[..5 << 20].iter().flat_map(|byte| [b'0' + (byte & 1), b',']).collect();
    let zeros = vec![0; (10 << 20) + 7];
    for content in [&noise[..], &table, &poor, &zeros, &[&poor[..], &zeros, &noise].concat(), &noise[..1]] {
        check(content, 0);
        check(content, 100_003);
    }
}

#[test]
fn a_span_after_one_that_was_given_up_is_given_up() {
    let file = regular(&noise(2, 8 << 20));
    let mut spans = Span::of(&file, Segment { start: 0, end: 8 << 20, rule: Rule::Content }, PART);
    drop(spans.next());
    assert!(spans.next().unwrap().cut(&mut Buffer::new()).unwrap().is_none());
}

#[test]
fn a_file_that_became_shorter_is_an_error() {
    let file = regular(&noise(3, 4 << 20));
    let longer = Segment { start: 0, end: 9 << 20, rule: Rule::Content };
    let cut: Vec<_> = Span::of(&file, longer, PART).map(|span| span.cut(&mut Buffer::new())).collect();
    assert!(matches!(&cut[0], Ok(Some(_))));
    assert!(matches!(&cut[1], Err(MarshalError::Changed { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Pieces of noise and of long runs, so that all three rules decide, around the ends of spans, too.
    #[test]
    fn cuts_of_mixed_content_are_those_of_one_thread(
        pieces in prop::collection::vec((any::<u64>(), any::<bool>(), 1..(2usize << 20)), 1..8),
        before in 0usize..5_000,
    ) {
        let piece = |(seed, run, bytes): &(u64, bool, usize)| if *run { vec![*seed as u8; *bytes] } else { noise(*seed, *bytes) };
        check(&pieces.iter().flat_map(piece).collect::<Vec<u8>>(), before);
    }
}
