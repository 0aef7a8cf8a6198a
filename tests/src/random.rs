//! Numbers that look random and can be had again by their seed.

/// A generator; its numbers follow from the seed alone.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers that belong to `seed`.
    pub fn seeded(seed: u64) -> Random {
        // Neighbouring seeds must not begin alike, and zero is no state of a xorshift.
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.below(1);
        random
    }

    /// A number below `limit`; zero if there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % limit.max(1)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// True in `percent` of the cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// So many bytes of any value.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }

    /// Changes a frame in a way that a careless receiver may stumble over: bits, bytes, a number at
    /// its edge, a piece cut out, doubled or torn off.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len() as u64) as usize;
            let piece = at..(at + 1 + self.below(8) as usize).min(bytes.len());
            match self.below(8) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.below(256) as u8,
                2 => bytes[piece].fill(0xff),
                3 => bytes[piece].fill(0),
                4 => drop(bytes.drain(piece)),
                5 => {
                    let doubled = bytes[piece.clone()].to_vec();
                    bytes.splice(piece.start..piece.start, doubled);
                }
                6 => bytes.truncate(at),
                // The header: version, kind, descriptors, zero, length.
                _ => bytes[at % 8] = self.pick(&[0, 1, 2, 5, 64, 127, 128, 253, 254, 255]),
            }
        }
    }
}
