//! Rows of text in columns as wide as they need to be. Knows nothing of what they say.

/// The rows under a head, columns two spaces apart.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let lines = || std::iter::once(head.iter().map(|cell| (*cell).to_owned()).collect()).chain(rows.iter().cloned());
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            lines().map(|line: Vec<String>| line.get(column).map_or(0, |cell| cell.chars().count())).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines() {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["node-1".into(), "alive".into()], vec!["ä".into(), String::new()]];
        assert_eq!(render(&["NODE", "STATUS"], &rows), "NODE    STATUS\nnode-1  alive\nä\n");
        assert_eq!(render(&["NODE"], &[]), "NODE\n");
    }
}
