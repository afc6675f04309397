//! Several figures of one thing, as one.

use std::fmt;

/// Median, least and most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// `None` of no figures.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            least,
            most,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}–{})",
            text(self.median),
            text(self.least),
            text(self.most)
        )
    }
}

/// Three digits, which is as much as such figures mean.
fn text(figure: f64) -> String {
    match figure.abs() {
        0.0..1.0 => format!("{figure:.3}"),
        1.0..10.0 => format!("{figure:.2}"),
        10.0..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two_in_the_middle() {
        let text = |figures: &[f64]| Spread::of(figures).map(|spread| spread.to_string());
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[3.0, 1.0, 20.0]).unwrap(), "3.00 (1.00–20.0)");
        assert_eq!(text(&[1.0, 2.0, 4.0, 900.0]).unwrap(), "3.00 (1.00–900)");
    }
}
