//! Lists that are read where they were received.

use crate::wire::{Reader, WireError};

/// A list in the bytes of a frame, checked when it was decoded.
///
/// ```
/// use netrunner_core::spawn::Placements;
///
/// fn is_from_the_lane(descriptors: &Placements<'_>) -> bool {
///     matches!(descriptors, Placements::Received(_))
/// }
/// assert!(!is_from_the_lane(&Placements::Listed(&[])));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    block: &'a [u8],
    pub(crate) count: usize,
}

impl<'a> Encoded<'a> {
    pub(crate) fn decode<T>(
        from: &mut Reader<'a>,
        item: impl Fn(&mut Reader<'a>) -> Result<T, WireError>,
    ) -> Result<Encoded<'a>, WireError> {
        let block = from.bytes()?;
        let mut count = 0;
        Reader::whole(block, |reader| {
            while !reader.is_empty() {
                item(reader)?;
                count += 1;
            }
            Ok(())
        })?;
        Ok(Encoded { block, count })
    }

    /// One by one.
    pub(crate) fn iter<T>(
        self,
        item: impl Fn(&mut Reader<'a>) -> Result<T, WireError>,
    ) -> impl Iterator<Item = T> {
        let mut rest = Reader::over(self.block);
        core::iter::from_fn(move || if rest.is_empty() { None } else { item(&mut rest).ok() })
    }
}
