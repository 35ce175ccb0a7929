//! A value that may differ from node to node: one, a range, or some to choose from.
//!
//! `50mbit` is the same for all; `5mbit..80mbit` is drawn evenly; `5mbit..80mbit log` so that each doubling is as likely
//! as the next; `5mbit | 20mbit | 80mbit` is one of these. Numbers may be written without quotes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use samara_protocol::rng::Rng;
use samara_protocol::units::ByteRate;

/// How one value is written.
pub trait Unit {
    /// An example, for messages.
    const EXAMPLE: &'static str;

    /// Whether one value may be written without quotes.
    const IS_BARE: bool;

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(text: &str) -> Result<f64, String>;

    /// Writes one so that reading it gives the same.
    fn write(value: f64) -> String;
}

/// Bytes a second, written as `50mbit`.
#[derive(Debug, Clone)]
pub struct Rate;

/// A number that is not negative: seconds, milliseconds, a share.
#[derive(Debug, Clone)]
pub struct Number;

impl Unit for Rate {
    const EXAMPLE: &'static str = "\"50mbit\", \"5mbit..80mbit\", \"5mbit..80mbit log\" or \"5mbit | 20mbit\"";
    const IS_BARE: bool = false;

    fn read(text: &str) -> Result<f64, String> {
        let rate: ByteRate = text
            .parse()
            .map_err(|error: samara_protocol::units::UnitError| error.to_string())?;
        #[expect(clippy::cast_precision_loss, reason = "rates are below 2^53")]
        Ok(rate.0 as f64)
    }

    fn write(value: f64) -> String {
        let bits = value * 8.0;
        let units = [(1e9, "gbit"), (1e6, "mbit"), (1e3, "kbit")];
        let whole = units.iter().find(|(scale, _)| bits >= *scale && bits % scale == 0.0);
        let (scale, unit) = whole.copied().unwrap_or((1.0, "bit"));
        format!("{}{unit}", bits / scale)
    }
}

impl Unit for Number {
    const EXAMPLE: &'static str = "5, \"2..40\", \"2..40 log\" or \"2 | 5 | 40\"";
    const IS_BARE: bool = true;

    fn read(text: &str) -> Result<f64, String> {
        let number: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
        if number.is_finite() && number >= 0.0 {
            Ok(number)
        } else {
            Err(format!("`{text}` must be 0 or more"))
        }
    }

    fn write(value: f64) -> String {
        value.to_string()
    }
}

/// Such a value.
#[derive(Debug, Clone)]
pub struct Spread<U> {
    law: Law,
    unit: PhantomData<U>,
}

#[derive(Debug, Clone, PartialEq)]
enum Law {
    One(f64),
    Even(f64, f64),
    Log(f64, f64),
    Any(Vec<f64>),
}

impl<U> Spread<U> {
    /// The same for all.
    #[must_use]
    pub const fn one(value: f64) -> Self {
        Self {
            law: Law::One(value),
            unit: PhantomData,
        }
    }

    /// The value of one node.
    pub fn draw(&self, rng: &mut Rng) -> f64 {
        match &self.law {
            Law::One(value) => *value,
            Law::Even(from, to) => from + (to - from) * rng.unit(),
            Law::Log(from, to) => from * (to / from).powf(rng.unit()),
            Law::Any(values) => rng.pick(values).copied().unwrap_or_default(),
        }
    }

    /// The least that it can be.
    #[must_use]
    pub fn least(&self) -> f64 {
        match &self.law {
            Law::One(value) => *value,
            Law::Even(from, _) | Law::Log(from, _) => *from,
            Law::Any(values) => values.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }

    /// The most that it can be.
    #[must_use]
    pub fn most(&self) -> f64 {
        match &self.law {
            Law::One(value) => *value,
            Law::Even(_, to) | Law::Log(_, to) => *to,
            Law::Any(values) => values.iter().copied().fold(0.0, f64::max),
        }
    }
}

impl<U: Unit> Spread<U> {
    /// Reads the text of one.
    ///
    /// # Errors
    /// What is wrong, with an example.
    pub fn parse(text: &str) -> Result<Self, String> {
        let law = Self::law(text.trim()).map_err(|error| format!("{error}; write for example {}", U::EXAMPLE))?;
        let unit = PhantomData;
        Ok(Self { law, unit })
    }

    fn law(text: &str) -> Result<Law, String> {
        if text.contains('|') {
            let values: Result<Vec<f64>, String> = text.split('|').map(|value| U::read(value.trim())).collect();
            return values.map(Law::Any);
        }
        let Some((from, to)) = text.split_once("..") else {
            return U::read(text).map(Law::One);
        };
        let (to, is_log) = match to.trim().strip_suffix("log") {
            Some(to) => (to, true),
            None => (to, false),
        };
        let (from, to) = (U::read(from.trim())?, U::read(to.trim())?);
        match (from <= to, is_log) {
            (false, _) => Err(format!("`{text}` goes from more to less")),
            (true, true) if from == 0.0 => Err(format!("`{text}` cannot be drawn by doublings from 0")),
            (true, true) => Ok(Law::Log(from, to)),
            (true, false) => Ok(Law::Even(from, to)),
        }
    }
}

impl<U: Unit> Serialize for Spread<U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.law {
            Law::One(value) if U::IS_BARE => serializer.serialize_f64(*value),
            _ => serializer.serialize_str(&self.to_string()),
        }
    }
}

impl<U: Unit> fmt::Display for Spread<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.law {
            Law::One(value) => f.write_str(&U::write(*value)),
            Law::Even(from, to) => write!(f, "{}..{}", U::write(*from), U::write(*to)),
            Law::Log(from, to) => write!(f, "{}..{} log", U::write(*from), U::write(*to)),
            Law::Any(values) => {
                let values: Vec<String> = values.iter().map(|value| U::write(*value)).collect();
                f.write_str(&values.join(" | "))
            }
        }
    }
}

impl<'de, U: Unit> Deserialize<'de> for Spread<U> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

struct Reader<U>(PhantomData<U>);

impl<U: Unit> Visitor<'_> for Reader<U> {
    type Value = Spread<U>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(U::EXAMPLE)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Spread::parse(text).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_a_range_and_a_choice_are_drawn_from_within() {
        let mut rng = Rng::new(1);
        let even: Spread<Number> = Spread::parse("2..4").expect("a range");
        let log: Spread<Rate> = Spread::parse("8mbit..80mbit log").expect("a range");
        let any: Spread<Number> = Spread::parse("2 | 7").expect("a choice");
        let (mut low, mut seen) = (0, std::collections::BTreeSet::new());
        for _ in 0..1000 {
            assert!((2.0..4.0).contains(&even.draw(&mut rng)));
            let rate = log.draw(&mut rng);
            assert!((1e6..1e7).contains(&rate));
            low += usize::from(rate < 3.163e6);
            seen.insert(format!("{}", any.draw(&mut rng)));
        }
        assert!((430..570).contains(&low), "half lie below the geometric middle: {low}");
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["2", "7"]);
        assert!((log.most() - 1e7).abs() < 1.0);
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for text in [
            "1gbit",
            "50mbit",
            "1234kbit",
            "8bit",
            "5mbit..80mbit",
            "5mbit..80mbit log",
            "5mbit | 20kbit",
        ] {
            assert_eq!(Spread::<Rate>::parse(text).expect(text).to_string(), text);
        }
        for text in ["0.1", "1000000", "0.3333333333333333..2", "1 | 0.000001"] {
            assert_eq!(Spread::<Number>::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_an_example() {
        for wrong in ["5", "fast", "80mbit..5mbit", "0mbit..5mbit log", "5mbit |", ""] {
            let error = Spread::<Rate>::parse(wrong).expect_err(wrong);
            assert!(error.contains("5mbit..80mbit"), "{error}");
        }
        for wrong in ["-1", "inf", "3..x", "NaN"] {
            Spread::<Number>::parse(wrong).expect_err(wrong);
        }
    }
}
