//! Aligned columns.

use std::io::{self, Write};

/// Writes rows under their head, two blanks between columns; each column is as wide as its widest cell.
pub(crate) fn write<const N: usize>(
    out: &mut dyn Write,
    indent: &str,
    head: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(out, indent, &head.map(str::to_owned), &widths)?;
    rows.iter()
        .try_for_each(|row| line(out, indent, row, &widths))
}

fn line<const N: usize>(
    out: &mut dyn Write,
    indent: &str,
    cells: &[String; N],
    widths: &[usize; N],
) -> io::Result<()> {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    writeln!(out, "{indent}{}", padded.join("  ").trim_end())
}
