//! What people read: the table on the terminal, the table of goals as Markdown, the plot. Numbers are
//! written here; what they are is in [`crate::stats`] and [`crate::goals`].

pub(crate) mod markdown;
pub(crate) mod plot;
pub(crate) mod table;

use crate::measured::Unit;

/// A number with its unit, three digits or so.
pub(crate) fn shown(number: f64, unit: Unit) -> String {
    let (number, unit) = match unit {
        Unit::Seconds if number < 1e-3 => (number * 1e6, " µs"),
        Unit::Seconds if number < 1.0 => (number * 1e3, " ms"),
        Unit::Seconds => (number, " s"),
        Unit::Bytes if number.abs() < 1024.0 => (number, " B"),
        Unit::Bytes => (number / 1024.0, " KiB"),
        Unit::PerSecond => (number, " /s"),
        Unit::BytesPerSecond => (number / 1e9, " GB/s"),
        Unit::Count => (number, ""),
    };
    let digits = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_unit_that_fits_it() {
        assert_eq!(shown(0.000_273_4, Unit::Seconds), "273 µs");
        assert_eq!(shown(0.0123, Unit::Seconds), "12.3 ms");
        assert_eq!(shown(1.5, Unit::Seconds), "1.50 s");
        assert_eq!(shown(47_104.0, Unit::Bytes), "46.0 KiB");
        assert_eq!(shown(2.6e9, Unit::BytesPerSecond), "2.60 GB/s");
    }
}
