//! What is measured, a file a scenario.

pub(crate) mod all;
pub(crate) mod burst;
pub(crate) mod frozen;
pub(crate) mod idle;
pub(crate) mod one;
pub(crate) mod reports;
pub(crate) mod restart;
pub(crate) mod storm;
pub(crate) mod write;

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::Result;
use crate::effort::Effort;
use crate::plot::Curve;
use crate::report::Row;

/// What a scenario found.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) rows: Vec<Row>,
    /// For the picture.
    pub(crate) curves: Vec<Curve>,
}

impl From<Vec<Row>> for Findings {
    fn from(rows: Vec<Row>) -> Self {
        let curves = Vec::new();
        Self { rows, curves }
    }
}

type Measure = fn(&Arc<Runtime>, &Effort) -> Result<Findings>;

/// What `push` is made of, in the order of the report.
pub(crate) const PUSH: &[(&str, Measure)] = &[
    ("idle", idle::measure),
    ("all", all::measure),
    ("one", one::measure),
    ("write", write::measure),
    ("burst", burst::measure),
    ("restart", restart::measure),
    ("frozen", frozen::measure),
    ("reports", reports::measure),
];

/// What `reports` is made of.
pub(crate) const REPORTS: &[(&str, Measure)] = &[("storm", storm::measure)];
