//! Pictures of a run as SVG: who had finished when, what the uplinks carried, who fed whom.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use samara_protocol::swarm::config::Role;
use samara_protocol::time::Timestamp;

use crate::world::{WARM_UP, World};

mod feeding;

pub use feeding::feeding;

/// Size of a chart without its margins.
const WIDE: f64 = 640.0;
/// See [`WIDE`].
const HIGH: f64 = 280.0;
/// Room for labels.
const MARGIN: f64 = 56.0;

/// Writes `completion.svg`, `uplinks.svg` and `feeding.svg` into a folder and says where they are.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write(world: &World, folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let mut written = Vec::new();
    for (name, picture) in [
        ("completion.svg", completion(world)),
        ("uplinks.svg", uplinks(world)),
        ("feeding.svg", feeding(world)),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, picture)?;
        written.push(path);
    }
    Ok(written)
}

/// The part of all nodes that had everything, over time.
#[must_use]
pub fn completion(world: &World) -> String {
    let times: Vec<f64> = world.timeline.finished.iter().map(|at| seconds(*at)).collect();
    let expected = world.nodes.iter().filter(|node| node.counts()).count() * world.releases.len();
    let mut points = vec![(0.0, 0.0)];
    for (at, time) in times.iter().enumerate() {
        points.push((*time, exact(at) / exact(expected.max(1))));
        points.push((*time, exact(at + 1) / exact(expected.max(1))));
    }
    let end = times.last().copied().unwrap_or(1.0).max(world.bound()) * 1.05;
    let mut chart = Chart::new("nodes that have everything", end, 1.0);
    chart.line("part of all nodes", "#1f6feb", &points);
    chart.mark("the bound", world.bound());
    chart.finish()
}

/// How much of the sites' and of the origins' uplinks was in use, over time: 100 % is what their links and their operators'
/// limits let through. Under a limit more may leave for a moment, as a bucket that was full lets it.
#[must_use]
pub fn uplinks(world: &World) -> String {
    let rate = |role: fn(Role) -> bool| -> f64 {
        let nodes = world.nodes.iter().filter(|node| role(node.nature.role));
        nodes.map(|node| node.nature.usable().up).sum()
    };
    let (of_origins, of_sites) = (rate(|role| role == Role::Origin), rate(|role| role == Role::Site));
    let line = &world.timeline;
    let interval = exact_u64(line.interval_us) / 1e6;
    let (mut sites, mut origins) = (Vec::new(), Vec::new());
    for (at, (all, from_origins)) in line.sent.iter().zip(&line.from_origins).enumerate() {
        let time = exact(at) * interval - WARM_UP.as_secs_f64();
        if time >= 0.0 {
            sites.push((time, (all - from_origins) / interval / of_sites.max(1.0)));
            origins.push((time, from_origins / interval / of_origins.max(1.0)));
        }
    }
    let end = sites.last().map_or(1.0, |point| point.0).max(world.bound()) * 1.05;
    let (sites, origins) = (smooth(&sites), smooth(&origins));
    let most = sites.iter().chain(&origins).map(|point| point.1).fold(1.0, f64::max);
    let mut chart = Chart::new("uplinks in use, of what links and limits let through", end, most);
    chart.line("sites", "#1f6feb", &sites);
    chart.line("origins", "#d1242f", &origins);
    chart.mark("the bound", world.bound());
    chart.finish()
}

/// A chart of parts of a whole over seconds.
struct Chart {
    out: String,
    end: f64,
    /// The value at its upper edge, in whole quarters.
    top: f64,
    lines: usize,
}

impl Chart {
    /// One that goes up to `most`, and to the whole at least.
    fn new(title: &str, end: f64, most: f64) -> Self {
        let mut out = head(WIDE + 2.0 * MARGIN, HIGH + 2.0 * MARGIN, title);
        // What is above a whole by less than a pixel is none.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few quarters")]
        let quarters = (((most - 0.005) * 4.0).ceil().max(4.0)) as u32;
        let top = f64::from(quarters) / 4.0;
        for step in 0..=quarters {
            let (part, y) = (
                f64::from(step) / 4.0,
                MARGIN + HIGH * (1.0 - f64::from(step) / 4.0 / top),
            );
            let _ = writeln!(
                out,
                "<line x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#888\" stroke-opacity=\"0.3\"/>",
                MARGIN + WIDE
            );
            label(&mut out, 8.0, y + 4.0, &format!("{:.0} %", part * 100.0));
        }
        for step in 0..=5 {
            let time = end * f64::from(step) / 5.0;
            let x = MARGIN + WIDE * f64::from(step) / 5.0;
            label(&mut out, x - 12.0, MARGIN + HIGH + 20.0, &format!("{time:.1} s"));
        }
        Self {
            out,
            end,
            top,
            lines: 0,
        }
    }

    fn line(&mut self, name: &str, colour: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (time, part) in points {
            let (x, y) = (
                self.x(*time),
                MARGIN + HIGH * (1.0 - part.clamp(0.0, self.top) / self.top),
            );
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let path = path.trim_end();
        let _ = writeln!(
            self.out,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let x = MARGIN + 160.0 * exact(self.lines) + 150.0;
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"24\" fill=\"{colour}\" font-family=\"sans-serif\" font-size=\"13\">{name}</text>"
        );
        self.lines += 1;
    }

    fn mark(&mut self, name: &str, time: f64) {
        let x = self.x(time);
        let _ = writeln!(
            self.out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{MARGIN}\" y2=\"{:.1}\" stroke=\"#888\" stroke-dasharray=\"4 3\"/>",
            MARGIN + HIGH
        );
        label(&mut self.out, x - 60.0, MARGIN - 8.0, name);
    }

    fn x(&self, time: f64) -> f64 {
        MARGIN + WIDE * time / self.end
    }

    fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

fn head(wide: f64, high: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide:.0} {high:.0}\" role=\"img\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    )
}

fn label(out: &mut String, x: f64, y: f64, text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"#555\" font-family=\"sans-serif\" font-size=\"12\">{text}</text>"
    );
}

/// The mean of every five points: what leaves in whole chunks looks ragged otherwise.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points
        .chunks(5)
        .map(|some| {
            let mean = some.iter().map(|point| point.1).sum::<f64>() / exact(some.len());
            (some[0].0, mean)
        })
        .collect()
}

fn seconds(at: Timestamp) -> f64 {
    at.since(Timestamp::ZERO.after(WARM_UP)).as_secs_f64()
}

fn exact(value: usize) -> f64 {
    exact_u64(value as u64)
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes below 2^53")]
const fn exact_u64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    /// An origin and eight sites with such uplinks, after a release of 4 MiB.
    fn world(up: &str) -> World {
        let text = format!(
            "name = \"x\"\n[[release]]\nsize = \"4MiB\"\n\
             [[nodes]]\ncount = 1\nrole = \"origin\"\ndown = \"100mbit\"\n{up}\n\
             [[nodes]]\nname = \"R&D\"\ncount = 8\nrole = \"site\"\ndown = \"100mbit\"\n{up}\n"
        );
        let mut world = World::new(&Scenario::parse("x", &text).expect("a scenario")).expect("a world");
        world.run();
        world
    }

    /// The percentages that stand at a chart's side.
    fn scale(picture: &str) -> Vec<&str> {
        let labels = picture.split('>').filter_map(|text| text.strip_suffix("</text"));
        labels.filter(|text| text.ends_with('%')).collect()
    }

    #[test]
    fn an_uplink_carries_a_whole_at_the_most_and_the_axis_says_what_is_more() {
        // A chunk takes two seconds here: counted in the moment in which it has left, it was forty times the uplink.
        let narrow = world("up = \"1mbit\"");
        let most = exact_u64(narrow.timeline.interval_us) / 1e6 * 125_000.0 * exact(narrow.nodes.len());
        assert!(narrow.timeline.sent.iter().all(|sent| *sent <= most * 1.01), "{most}");
        assert_eq!(scale(&uplinks(&narrow)), ["0 %", "25 %", "50 %", "75 %", "100 %"]);
        let chart = Chart::new("x", 1.0, 1.3).finish();
        assert_eq!(scale(&chart).last(), Some(&"150 %"));
    }

    #[test]
    fn whoever_fed_and_was_fed_is_named_by_its_group_and_number() {
        let picture = feeding(&world("up = \"50mbit\""));
        for name in [">origin</text>", ">R&amp;D 1</text>", ">R&amp;D 8</text>"] {
            assert_eq!(
                picture.matches(name).count(),
                2,
                "once as a row and once as a column: {name}"
            );
        }
    }

    #[test]
    fn a_run_leaves_three_pictures_that_show_what_happened() {
        let world = world("up = \"50mbit\"");
        let folder = std::env::temp_dir().join(format!("samara-pictures-{}", std::process::id()));
        let written = write(&world, &folder).expect("the folder can be written");
        let read = |at: usize| std::fs::read_to_string(&written[at]).expect("written");
        assert_eq!(read(0).matches("<polyline").count(), 1);
        assert_eq!(read(1).matches("<polyline").count(), 2);
        // Each of the eight got something of the origin, which is the first row.
        let matrix = read(2);
        let cells: Vec<&str> = matrix.lines().filter(|line| line.contains("fill-opacity")).collect();
        let top = |line: &&&str| {
            line.split("y=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .map(str::to_owned)
        };
        let first_row = cells.iter().filter(|line| top(line) == top(&&cells[0])).count();
        assert_eq!(first_row, 8);
        std::fs::remove_dir_all(folder).expect("ours");
    }
}
