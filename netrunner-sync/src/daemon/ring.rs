//! The last bytes of an output.

use std::collections::VecDeque;

/// Keeps the last `room` bytes of what is pushed.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    room: usize,
}

impl Ring {
    pub(super) fn new(room: usize) -> Ring {
        Ring { bytes: VecDeque::new(), room }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.room)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(self.room);
        self.bytes.drain(..over);
        self.bytes.extend(kept);
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let (first, second) = self.bytes.as_slices();
        [first, second].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_however_they_come() {
        let text: Vec<u8> = (0..100).collect();
        for room in [0, 1, 7, 99, 100, 101] {
            for piece in [1, 3, 50, 100] {
                let mut ring = Ring::new(room);
                text.chunks(piece).for_each(|bytes| ring.push(bytes));
                assert_eq!(ring.to_vec(), text[100_usize.saturating_sub(room)..]);
            }
        }
        assert!(Ring::new(8).to_vec().is_empty());
    }
}
