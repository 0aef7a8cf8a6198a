//! Bytes that tell where they belong, so that a lost, doubled or swapped piece is seen.

/// The byte at this place of the pattern. The period is a prime, so no buffer size hides a shift.
pub fn byte_at(place: u64) -> u8 {
    (place % 251) as u8
}

/// The first `len` bytes of the pattern.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(byte_at).collect()
}

/// Panics, naming the first wrong place, unless `found` is exactly the first `len` bytes.
#[track_caller]
pub fn check(found: &[u8], len: usize) {
    if let Some(at) = found.iter().enumerate().position(|(at, byte)| *byte != byte_at(at as u64)) {
        panic!(
            "byte {at} of {} is {} and should be {}",
            found.len(),
            found[at],
            byte_at(at as u64)
        );
    }
    assert_eq!(found.len(), len, "the pattern is right but its length is not");
}
