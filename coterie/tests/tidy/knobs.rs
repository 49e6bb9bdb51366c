//! The table of knobs in `docs/reliability.md`, made from the code.

use std::fmt;

use super::sources::{before_tests, name_of, read, root, sources_of};

/// Where the knobs are.
const PARTS: [&str; 3] = ["common/src", "peer/src/core", "seed/src/core"];

const DOCUMENT: &str = "docs/reliability.md";
const BEGINS: &str =
    "<!-- knobs: made from the code by `UPDATE_DOCS=1 cargo test -p coterie --test tidy knobs` -->\n";
const ENDS: &str = "<!-- end of the knobs -->\n";

/// What a knob can be, as the code writes it.
#[derive(Clone, Debug, PartialEq)]
enum Amount {
    Time(f64),
    Count(f64),
    Several(Vec<Amount>),
}

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let within = |begin: &str| text.strip_prefix(begin)?.strip_suffix(')').map(str::trim);
        if let Some(count) = within("Duration::from_secs(") {
            return Some(Amount::Time(number(count)? * 1_000.0));
        }
        if let Some(count) = within("Duration::from_millis(") {
            return Some(Amount::Time(number(count)?));
        }
        if let Some(count) = within("Duration::from_micros(") {
            return Some(Amount::Time(number(count)? / 1_000.0));
        }
        if text == "DEFAULT" {
            // That of `--patience`, beside it.
            let text = read(&root().join("common/src/patience.rs"));
            let value = text.split("pub const DEFAULT: Duration = ").nth(1)?.split(';').next()?.to_owned();
            return Amount::parse(&value);
        }
        if let Some(fields) = text.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}')) {
            let values = fields.split(',').filter_map(|field| field.split_once(':'));
            return Some(Amount::Several(
                values.map(|(_, value)| Amount::parse(value)).collect::<Option<_>>()?,
            ));
        }
        if let Some(parts) = within("(") {
            return Some(Amount::Several(parts.split(", ").map(Amount::parse).collect::<Option<_>>()?));
        }
        number(text).map(Amount::Count)
    }

    fn times(&self, factor: f64) -> Self {
        match self {
            Amount::Time(millis) => Amount::Time(millis * factor),
            Amount::Count(count) => Amount::Count((count * factor).floor().max(1.0)),
            Amount::Several(all) => Amount::Several(all.iter().map(|it| it.times(factor)).collect()),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    match plain.split_once("<<") {
        Some((base, shift)) => {
            Some(base.trim().parse::<f64>().ok()? * 2_f64.powi(shift.trim().parse().ok()?))
        }
        None => plain.trim().parse().ok(),
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Time(millis) if *millis >= 1_000.0 => write!(f, "{} s", millis / 1_000.0),
            Amount::Time(millis) => write!(f, "{millis} ms"),
            Amount::Count(count) => write!(f, "{count}"),
            Amount::Several(all) => {
                let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
                write!(f, "{}", texts.join(", "))
            }
        }
    }
}

/// The knobs of one file: their names, and the rows about them.
fn knobs_of(path: &std::path::Path) -> Vec<(String, String)> {
    let text = before_tests(path).join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rows = Vec::new();
    for declared in text.split("Knob::new( ").flat_map(|part| part.split("Knob::new(")).skip(1) {
        let statement = declared.split(';').next().unwrap_or_default();
        let (call, least) = match statement.split_once(".at_least(") {
            Some((call, least)) => (call, least.strip_suffix(')').and_then(Amount::parse)),
            None => (statement, None),
        };
        let Some((name, default)) = call.trim().trim_end_matches(',').split_once(',') else { continue };
        let default = default.trim().strip_suffix(')').unwrap_or(default).trim().trim_end_matches(',');
        let name = name.trim().trim_matches('"').to_owned();
        let Some(amount) = Amount::parse(default) else { panic!("{name} in {}: {default}", name_of(path)) };
        let least = least.unwrap_or_else(|| amount.times(0.25));
        let most = amount.times(4.0);
        let constant = name.rsplit('/').next().unwrap_or_default().to_owned();
        let place = name_of(path).replace("/src/", "/").replace(".rs", "");
        rows.push((name, format!("| {constant} | `{place}` | {amount} | {least} to {most} |\n")));
    }
    rows
}

#[test]
fn the_table_of_knobs_is_that_of_the_code() {
    let mut knobs = Vec::new();
    for path in sources_of(&PARTS).iter().filter(|path| !path.ends_with("knob.rs")) {
        knobs.extend(knobs_of(path));
    }
    let names: std::collections::BTreeSet<&String> = knobs.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), knobs.len(), "two knobs of one name would be drawn together");
    assert!(knobs.len() > 80, "only {} knobs", knobs.len());
    let forced = read(&root().join("simulator/src/plan/planted_bug.rs"));
    let forced =
        forced.split("forced_knobs(self)").nth(1).unwrap().split("_ => &[]").next().unwrap().to_owned();
    for name in forced.split('"').skip(1).step_by(2) {
        assert!(
            names.iter().any(|known| *known == name),
            "a mechanism is switched off by {name}, which is no knob"
        );
    }
    let head = "| constant | in | default | a world draws |\n|---|---|---|---|\n";
    let table: String = [head.to_owned()].into_iter().chain(knobs.into_iter().map(|(_, row)| row)).collect();
    let (path, text) = (root().join(DOCUMENT), read(&root().join(DOCUMENT)));
    let (before, rest) = text.split_once(BEGINS).unwrap();
    let (written, after) = rest.split_once(ENDS).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGINS}{table}{ENDS}{after}")).unwrap();
    } else {
        assert_eq!(written, table, "UPDATE_DOCS=1 writes it anew");
    }
}
