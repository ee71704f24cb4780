//! The chart: how many times as long as ftpsfs each program takes, on a logarithmic scale.

use crate::peers::Peer;
use crate::report::{Table, ratio};
use std::fmt::Write as _;

/// As SVG, readable on light and dark ground.
pub fn draw(table: &Table<'_>) -> String {
    let mut bars = String::new();
    let mut y = TOP;
    for (workload, rows) in table.lines() {
        let ours = rows.iter().find(|row| row.peer == Peer::Ftpsfs.name());
        let others = rows.iter().filter_map(|row| Some((*row, ratio(row, ours?)?)));
        let others: Vec<_> = others.filter(|(row, _)| row.peer != Peer::Ftpsfs.name()).collect();
        if others.is_empty() {
            continue;
        }
        let middle = y + others.len() as f64 * BAR / 2.0 + 4.0;
        let what = workload.what.replace('`', "");
        let _ = writeln!(bars, r#"<text x="{}" y="{middle:.0}" text-anchor="end">{what}</text>"#, LEFT - 10.0);
        for (row, ratio) in others {
            let (one, end) = (place(1.0), place(ratio));
            let (start, width) = (one.min(end), (one - end).abs().max(1.0));
            let color = COLORS.iter().find(|(name, _)| *name == row.peer).map_or("#888", |(_, color)| color);
            let more = if row.seconds.is_none() { " or more" } else { "" };
            let label = format!("{} {ratio:.1}×{more}", row.peer);
            let text = y + BAR - 4.0;
            let _ = writeln!(
                bars,
                r#"<rect x="{start:.0}" y="{y:.0}" width="{width:.0}" height="{}" fill="{color}"/><text x="{:.0}" y="{text:.0}">{label}</text>"#,
                BAR - 2.0,
                one.max(end) + 5.0
            );
            y += BAR;
        }
        y += GAP;
    }
    let mut scale = String::new();
    for power in -1..=3 {
        let (x, value) = (place(10_f64.powi(power)), 10_f64.powi(power));
        let _ = writeln!(
            scale,
            r#"<line x1="{x:.0}" x2="{x:.0}" y1="{}" y2="{y:.0}" stroke="{}"/><text x="{x:.0}" y="{}" text-anchor="middle">{value}×</text>"#,
            TOP - 5.0,
            // The line of ftpsfs itself is the one that counts.
            if power == 0 { "#888" } else { "#8884" },
            TOP - 10.0
        );
    }
    let style =
        "text { font: 12px sans-serif; fill: #555 } @media (prefers-color-scheme: dark) { text { fill: #bbb } }";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\">\n<style>{style}</style>\n\
         <text x=\"{LEFT}\" y=\"15\">Time as a multiple of ftpsfs: to the right of 1×, ftpsfs is faster</text>\n\
         {scale}{bars}</svg>\n",
        y + 10.0
    )
}

/// A tenth to a thousand times.
fn place(ratio: f64) -> f64 {
    LEFT + (ratio.clamp(0.1, 1000.0).log10() + 1.0) / 4.0 * (WIDTH - LEFT - RIGHT)
}

const COLORS: &[(&str, &str)] =
    &[("rclone", "#c0504d"), ("sshfs", "#4f81bd"), ("lftp", "#9b8f3c"), ("curl", "#6a9a4b")];
const WIDTH: f64 = 900.0;
const LEFT: f64 = 260.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 50.0;
const BAR: f64 = 16.0;
const GAP: f64 = 10.0;
