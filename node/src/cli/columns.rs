//! Tables for people: columns as wide as their widest cell, numbers to the right, nothing behind the last cell.

use std::fmt;

/// How a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A heading and rows under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    heading: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// One without rows.
    #[must_use]
    pub fn new(heading: &[(&'static str, Align)]) -> Self {
        Self {
            heading: heading.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty, surplus ones are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.heading.len(), String::new());
        self.rows.push(cells);
    }

    /// Whether there is nothing under the heading.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading: Vec<String> = self.heading.iter().map(|(name, _)| name.to_uppercase()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&heading).chain(&self.rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..heading.len()).map(width).collect();
        for (number, line) in lines.iter().enumerate() {
            let mut text = String::new();
            for ((cell, width), (_, align)) in line.iter().zip(&widths).zip(&self.heading) {
                match align {
                    Align::Left => text.push_str(&format!("{cell:<width$}  ")),
                    Align::Right => text.push_str(&format!("{cell:>width$}  ")),
                }
            }
            let end = if number + 1 == lines.len() { "" } else { "\n" };
            write!(f, "{}{end}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_numbers_right_and_lines_end_with_their_last_cell() {
        let mut columns = Columns::new(&[("name", Align::Left), ("bytes", Align::Right), ("note", Align::Left)]);
        columns.row(["a".to_owned(), "1".to_owned(), "x".to_owned()]);
        columns.row(["longer".to_owned(), "1000000".to_owned()]);
        assert_eq!(
            columns.to_string(),
            "NAME      BYTES  NOTE\na             1  x\nlonger  1000000"
        );
    }
}
