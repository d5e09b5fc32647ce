//! The patterns of one or several scans, clustered together so that both sides of a comparison share them.

use std::collections::HashMap;

use super::cluster::{self, Shape};
use super::{shown, stable_id};
use crate::analysis::latency::Histogram;
use crate::analysis::scan::{Example, Numbers, ServiceScan, ShapeCount};
use crate::domain::log::Level;
use crate::domain::time_buckets::TimeBuckets;

/// What one source contributed to a pattern.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The number of the source, as it was given.
    pub source: usize,
    /// Occurrences.
    pub count: u64,
    /// First and last instant, in milliseconds since 1970.
    pub seen: Option<(i64, i64)>,
    /// How often it occurred when.
    pub times: Option<Box<TimeBuckets>>,
    /// In how many different seconds it occurred, at least.
    pub seconds: u64,
    /// The first records of it.
    pub examples: Vec<Example>,
    /// Durations in its records.
    pub latency: Option<Histogram>,
    /// Other numbers in the records of its most frequent shape.
    pub numbers: Option<Numbers>,
    /// How frequent that shape is.
    numbered: u64,
}

impl Part {
    fn add(&mut self, shape: &ShapeCount) {
        self.count += shape.count;
        self.seen = match (self.seen, shape.seen) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (a, b) => a.or(b),
        };
        TimeBuckets::join(&mut self.times, shape.times.as_deref());
        self.seconds = match self.seen {
            // Shapes of one pattern may share a second, but not more seconds than there are.
            Some((from, to)) => (self.seconds + shape.seconds)
                .min((to.div_euclid(1000) - from.div_euclid(1000) + 1).unsigned_abs()),
            None => self.seconds + shape.seconds,
        };
        self.examples.extend(shape.examples.iter().cloned());
        self.examples.sort_by_key(|e| e.line);
        self.examples.truncate(3);
        if let Some(numbers) = &shape.numbers
            && shape.count > self.numbered
        {
            self.numbers = Some((**numbers).clone());
            self.numbered = shape.count;
        }
        if let Some(latency) = &shape.latency {
            self.latency
                .get_or_insert_with(|| Histogram::with_bound(256))
                .merge(latency);
        }
    }
}

/// One pattern over all sources.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The same for the same template and level everywhere.
    pub id: String,
    /// The text with `<*>` for what varies.
    pub template: String,
    /// Its level.
    pub level: Option<Level>,
    /// What it was before the deploy worded it otherwise.
    pub was: Option<Was>,
    /// What each source contributed, in the order of the sources.
    pub parts: Vec<Part>,
}

impl Pattern {
    /// Occurrences in all sources.
    pub fn count(&self) -> u64 {
        self.parts.iter().map(|p| p.count).sum()
    }
}

/// A text and a level that a pattern had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Was {
    /// The template.
    pub template: String,
    /// The level.
    pub level: Option<Level>,
}

/// The patterns, and which pattern each shape of each source belongs to.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    /// The patterns, the most frequent first.
    pub patterns: Vec<Pattern>,
    /// Source and hash of a shape to the pattern's place in `patterns`.
    pub of_shape: HashMap<(usize, u64), usize>,
}

impl Patterns {
    /// Makes one pattern of each pair of places, the second one's, which keeps what the first one was. No place may
    /// stand in two pairs.
    pub fn join(&mut self, pairs: &[(usize, usize)]) {
        for (old, now) in pairs {
            let parts = std::mem::take(&mut self.patterns[*old].parts);
            let was = Was {
                template: std::mem::take(&mut self.patterns[*old].template),
                level: self.patterns[*old].level,
            };
            let joined = &mut self.patterns[*now];
            joined.was = Some(was);
            joined.parts.extend(parts);
            joined.parts.sort_by_key(|p| p.source);
        }
        let gone: HashMap<usize, usize> = pairs.iter().copied().collect();
        let mut places = Vec::with_capacity(self.patterns.len());
        let mut next = 0;
        for at in 0..self.patterns.len() {
            places.push(next);
            next += usize::from(!gone.contains_key(&at));
        }
        for at in self.of_shape.values_mut() {
            *at = places[*gone.get(at).unwrap_or(at)];
        }
        let mut at = 0..;
        self.patterns
            .retain(|_| at.next().is_some_and(|at| !gone.contains_key(&at)));
    }
}

/// How often a shape occurs, and its sources with its hash there.
type Distinct = (u64, Vec<(usize, u64)>);

/// Groups the shapes of several services' scans.
pub fn group(sources: &[&ServiceScan]) -> Patterns {
    // The same shape of several sources is clustered once.
    let mut distinct: HashMap<(&[u8], Option<Level>), Distinct> = HashMap::new();
    for (source, scan) in sources.iter().enumerate() {
        for (key, shape) in &scan.shapes {
            let entry = distinct.entry((&shape.masked, shape.level)).or_default();
            entry.0 += shape.count;
            entry.1.push((source, *key));
        }
    }
    let mut distinct: Vec<_> = distinct.into_iter().collect();
    distinct.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let shapes: Vec<Shape<'_>> = distinct
        .iter()
        .map(|((masked, level), (weight, _))| Shape {
            masked,
            level: *level,
            weight: *weight,
        })
        .collect();
    let clusters = cluster::cluster(&shapes);
    let templates: Vec<String> = clusters.templates.iter().map(|t| shown(t)).collect();
    let mut patterns: Vec<Pattern> = Vec::new();
    let mut by_id: HashMap<String, usize> = HashMap::new();
    let mut of_shape = HashMap::new();
    for (((_, level), (_, places)), number) in distinct.iter().zip(&clusters.of) {
        let template = &templates[*number];
        let id = stable_id(template, *level);
        let at = *by_id.entry(id.clone()).or_insert_with(|| {
            patterns.push(Pattern {
                id,
                template: template.clone(),
                level: *level,
                was: None,
                parts: Vec::new(),
            });
            patterns.len() - 1
        });
        for (source, key) in places {
            of_shape.insert((*source, *key), at);
            let parts = &mut patterns[at].parts;
            let part = match parts.iter().position(|p| p.source == *source) {
                Some(part) => &mut parts[part],
                None => {
                    parts.push(Part {
                        source: *source,
                        ..Part::default()
                    });
                    let last = parts.len() - 1;
                    &mut parts[last]
                }
            };
            if let Some(shape) = sources[*source].shapes.get(key) {
                part.add(shape);
            }
        }
    }
    let mut order: Vec<usize> = (0..patterns.len()).collect();
    order.sort_by(|a, b| {
        patterns[*b]
            .count()
            .cmp(&patterns[*a].count())
            .then_with(|| patterns[*a].template.cmp(&patterns[*b].template))
    });
    let mut rank = vec![0; order.len()];
    for (to, from) in order.iter().enumerate() {
        rank[*from] = to;
    }
    for at in of_shape.values_mut() {
        *at = rank[*at];
    }
    for pattern in &mut patterns {
        pattern.parts.sort_by_key(|p| p.source);
    }
    let mut sorted: Vec<Option<Pattern>> = patterns.into_iter().map(Some).collect();
    Patterns {
        patterns: order.iter().filter_map(|at| sorted[*at].take()).collect(),
        of_shape,
    }
}
