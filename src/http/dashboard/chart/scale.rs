//! The vertical scale of a chart: from zero at the bottom to a round number above the largest value, in three or four
//! steps. Pure. Called by `dashboard::chart`.

use super::unit::ChartUnit;

/// Height of the drawing.
pub(super) const HEIGHT: f64 = 200.0;
/// Width of the drawing.
pub(super) const WIDTH: f64 = 720.0;

/// From zero to `top` in `steps`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    top: f64,
    steps: u32,
}

impl Scale {
    pub(super) fn of(unit: &ChartUnit, largest: f64) -> Self {
        if *unit == ChartUnit::Percent {
            return Self { top: 100.0, steps: 4 };
        }
        let fits = |steps: u32| Self { top: step(unit, largest / f64::from(steps)) * f64::from(steps), steps };
        let (four, three) = (fits(4), fits(3));
        if three.top < four.top { three } else { four }
    }

    /// How far down a value is.
    pub(super) fn y(self, value: f64) -> f64 {
        (HEIGHT - value / self.top * HEIGHT).clamp(0.0, HEIGHT)
    }

    /// The values of the grid lines, from the top to zero.
    pub(super) fn values(self) -> impl Iterator<Item = f64> {
        let each = self.top / f64::from(self.steps);
        (0..=self.steps).rev().map(move |number| each * f64::from(number))
    }

    /// Where the grid lines are, from the top to zero.
    pub(super) fn lines(self) -> Vec<String> {
        self.values().map(|value| number(self.y(value))).collect()
    }
}

/// The smallest round number that is not below.
fn step(unit: &ChartUnit, least: f64) -> f64 {
    let smallest = if unit.is_whole() { 1.0 } else { f64::MIN_POSITIVE };
    let power = 10_f64.powf(least.max(smallest.max(1e-3)).log10().floor());
    let rounds = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    let fits = |round: &f64| *round >= least && (!unit.is_whole() || round.fract() == 0.0);
    rounds.into_iter().find(fits).unwrap_or(power * 10.0)
}

/// A coordinate: a whole number, since a picture is not much larger than this.
pub(super) fn number(value: f64) -> String {
    format!("{value:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(unit: &ChartUnit, largest: f64) -> Vec<f64> {
        Scale::of(unit, largest).values().collect()
    }

    #[test]
    fn grid_lines_are_round_numbers_from_zero_on_and_the_largest_value_is_below_the_highest() {
        let count = ChartUnit::Count("events");
        assert_eq!(grid(&count, 0.0), [3.0, 2.0, 1.0, 0.0]);
        assert_eq!(grid(&count, 1.0), [3.0, 2.0, 1.0, 0.0]);
        assert_eq!(grid(&count, 7.0), [8.0, 6.0, 4.0, 2.0, 0.0]);
        assert_eq!(grid(&count, 1234.0), [1500.0, 1000.0, 500.0, 0.0]);
        assert_eq!(grid(&ChartUnit::Percent, 3.0), [100.0, 75.0, 50.0, 25.0, 0.0]);
        for largest in [0.0, 0.4, 3.0, 99.0, 101.0, 7e9] {
            for unit in [ChartUnit::Milliseconds, ChartUnit::Money("usd".to_owned()), ChartUnit::Count("")] {
                let grid = grid(&unit, largest);
                assert!(grid[0] >= largest && [4, 5].contains(&grid.len()), "{unit:?} {largest}: {grid:?}");
            }
        }
    }

    #[test]
    fn zero_is_at_the_bottom_and_the_top_at_the_top() {
        let scale = Scale::of(&ChartUnit::Count("events"), 8.0);
        assert_eq!((scale.y(0.0), scale.y(8.0), scale.y(4.0)), (HEIGHT, 0.0, HEIGHT / 2.0));
        assert_eq!(scale.lines(), ["0", "50", "100", "150", "200"]);
        assert_eq!((scale.y(-5.0), scale.y(1e9)), (HEIGHT, 0.0), "nothing leaves the drawing");
    }
}
