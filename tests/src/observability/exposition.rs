//! The text format of OpenMetrics 1.0, read as strictly as its specification allows.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

pub struct Exposition {
    samples: BTreeMap<(String, Labels), f64>,
}

/// The family whose lines are being read.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
}

impl Family {
    fn owns(&self, sample: &str) -> bool {
        let Some(suffix) = sample.strip_prefix(self.name.as_str()) else { return false };
        match self.kind.as_str() {
            "counter" => matches!(suffix, "_total" | "_created"),
            "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count" | "_created"),
            "info" => suffix == "_info",
            "gauge" => suffix.is_empty(),
            _ => false,
        }
    }
}

impl Exposition {
    pub fn parse(text: &str) -> Result<Exposition, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("the end is not marked")?;
        let (mut samples, mut seen, mut family) = (BTreeMap::new(), BTreeSet::new(), Family::default());
        for line in body.lines() {
            let mut words = line.splitn(4, ' ');
            if words.next() == Some("#") {
                let (key, name, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
                let (Some(key), Some(name)) = (key, name) else { return Err(format!("not a description: {line}")) };
                if family.name != name {
                    if !seen.insert(name.to_owned()) {
                        return Err(format!("{name} is described in two places"));
                    }
                    family = Family { name: name.to_owned(), kind: String::new() };
                }
                match key {
                    "TYPE" => family.kind = rest.to_owned(),
                    "UNIT" if name.ends_with(&format!("_{rest}")) => {}
                    "HELP" if !rest.is_empty() => {}
                    _ => return Err(format!("not a description: {line}")),
                }
            } else {
                let (name, labels, value) = sample(line).ok_or_else(|| format!("not a sample: {line}"))?;
                if !family.owns(&name) {
                    return Err(format!("{name} is not of the {} {}", family.kind, family.name));
                }
                if family.kind != "gauge" && value < 0.0 {
                    return Err(format!("counts less than nothing: {line}"));
                }
                if samples.insert((name, labels), value).is_some() {
                    return Err(format!("twice: {line}"));
                }
            }
        }
        let exposition = Exposition { samples };
        exposition.check_histograms()?;
        Ok(exposition)
    }

    /// 0 when there is no such series: a scraper would not know it either.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied().unwrap_or(0.0)
    }

    pub fn series(&self) -> BTreeSet<&(String, Labels)> {
        self.samples.keys().collect()
    }

    pub fn label_values(&self) -> BTreeSet<(&str, &str)> {
        let labels = self.samples.keys().flat_map(|(_, labels)| labels);
        labels.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Buckets add up, and the last one holds everything.
    fn check_histograms(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), count) in &self.samples {
            let (Some(name), Some(le)) = (name.strip_suffix("_bucket"), labels.get("le")) else { continue };
            let mut rest = labels.clone();
            rest.remove("le");
            let le = number(le).ok_or_else(|| format!("{name}: le is {le}"))?;
            buckets.entry((name.to_owned(), rest)).or_default().push((le, *count));
        }
        for ((name, labels), mut found) in buckets {
            found.sort_by(|a, b| a.0.total_cmp(&b.0));
            let total = self.samples.get(&(format!("{name}_count"), labels.clone()));
            let (Some(last), true) = (found.last(), found.is_sorted_by(|a, b| a.1 <= b.1)) else {
                return Err(format!("{name} {labels:?}: the buckets do not add up"));
            };
            if !last.0.is_infinite() || Some(&last.1) != total {
                return Err(format!("{name} {labels:?}: the last bucket does not hold everything"));
            }
        }
        Ok(())
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plain(name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut labels = Labels::new();
    let mut rest = rest.strip_prefix('{').unwrap_or(rest);
    while !rest.starts_with(' ') {
        let (label, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        if !plain(label) || value.contains('\\') || labels.insert(label.to_owned(), value.to_owned()).is_some() {
            return None;
        }
        rest = after.strip_prefix(',').or_else(|| after.strip_prefix('}'))?;
    }
    Some((name.to_owned(), labels, number(rest.strip_prefix(' ')?)?))
}

fn number(text: &str) -> Option<f64> {
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}
